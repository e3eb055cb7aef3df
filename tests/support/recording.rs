//! A transcript as an animated picture: each line of a real run appears in its turn. Nothing but SVG
//! and CSS (SVG 2, CSS Animations 1), so that it plays on a page without scripts.

use std::fmt::Write as _;

/// The page of pictures, relative to the root of the workspace.
pub const PICTURE: &str = "docs/images/demo.svg";
/// The transcript that it shows.
pub const TRANSCRIPT: &str = "tests/transcripts/demo.txt";

/// The picture of a transcript that was replayed.
pub fn picture(replayed: &str) -> String {
    let mut lines = Vec::new();
    let mut seconds = 0.0;
    for line in replayed.lines() {
        let (class, text) = match line.split_once(' ').unwrap_or((line, "")) {
            ("$", command) => {
                seconds += 1.4;
                ("c", format!("$ {command}"))
            }
            ("|", text) => ("o", text.to_owned()),
            ("!", text) => ("e", text.to_owned()),
            ("<", _) => ("o", "(pasted, not shown)".to_owned()),
            ("#", text) => {
                seconds += 0.8;
                ("n", format!("# {text}"))
            }
            _ => continue,
        };
        seconds += 0.15;
        lines.push((class, text, seconds));
    }
    let whole = seconds + 5.0;
    let (width, height) = (860, 40 + 20 * lines.len());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"A recorded run of the program\">\n<style>\n\
         rect {{ fill: #16181d }}\n\
         text {{ font: 14px ui-monospace, Menlo, Consolas, monospace; fill: #d5d8de; white-space: pre }}\n\
         .c {{ fill: #8ad1ff }} .e {{ fill: #f2c66d }} .n {{ fill: #8b919c }}\n\
         @media (prefers-reduced-motion: no-preference) {{\n\
         text {{ opacity: 0; animation: show {whole:.2}s linear infinite }}\n\
         @keyframes show {{ 0%, 0.1% {{ opacity: 0 }} 0.2%, 100% {{ opacity: 1 }} }}\n}}\n</style>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n"
    );
    for (place, (class, text, at)) in lines.iter().enumerate() {
        let y = 34 + 20 * place;
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        // A line begins to show at its time and stays until all begins again.
        let _ = writeln!(
            svg,
            "<text class=\"{class}\" x=\"20\" y=\"{y}\" style=\"animation-delay: {at:.2}s\">{text}</text>"
        );
    }
    svg + "</svg>\n"
}
