// What the reader of .env files that most Node programs use makes of standard input, as JSON.
import { readFileSync } from "node:fs";
import { parse } from "dotenv";

process.stdout.write(JSON.stringify(parse(readFileSync(0))));
