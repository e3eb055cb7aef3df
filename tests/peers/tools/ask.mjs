// Asks a model once, by the SDK of its provider: node ask.mjs DIALECT BASE TOKEN; prints what came.
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const [dialect, baseURL, token] = process.argv.slice(2);
const ping = [{ role: "user", content: "ping" }];

const ways = {
  async chat(client) {
    const whole = await client.chat.completions.create({ model: "pong-1", messages: ping });
    return whole.choices[0].message.content;
  },
  async "chat-stream"(client) {
    const options = { model: "pong-1", messages: ping, stream: true };
    let text = "";
    for await (const part of await client.chat.completions.create(options)) {
      text += part.choices[0]?.delta?.content ?? "";
    }
    return text;
  },
  async responses(client) {
    const whole = await client.responses.create({ model: "pong-1", input: "ping" });
    return whole.output[0].content[0].text;
  },
  async "responses-stream"(client) {
    let text = "";
    const options = { model: "pong-1", input: "ping", stream: true };
    for await (const event of await client.responses.create(options)) {
      if (event.type === "response.output_text.delta") text += event.delta;
    }
    return text;
  },
  async messages(client) {
    const options = { model: "pong-1", max_tokens: 9, messages: ping };
    return (await client.messages.create(options)).content[0].text;
  },
  async "messages-stream"(client) {
    const options = { model: "pong-1", max_tokens: 9, messages: ping };
    return await client.messages.stream(options).finalText();
  },
};

const settings = { baseURL, apiKey: token, maxRetries: 0 };
const client = dialect.startsWith("messages") ? new Anthropic(settings) : new OpenAI(settings);
try {
  console.log(await ways[dialect](client));
} catch (error) {
  console.log(`${error.status ?? "-"} ${error.message}`);
  process.exit(1);
}
