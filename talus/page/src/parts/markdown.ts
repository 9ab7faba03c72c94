/** Markdown to HTML: what the text holds of HTML is shown as text, and links open beside the page. */

import MarkdownIt from "markdown-it";

const reader = new MarkdownIt({ html: false, linkify: true, breaks: true });
const plain = reader.renderer.rules.link_open;

reader.renderer.rules.link_open = (tokens, at, options, env, self) => {
  tokens[at]?.attrSet("target", "_blank");
  tokens[at]?.attrSet("rel", "noopener noreferrer");
  return plain ? plain(tokens, at, options, env, self) : self.renderToken(tokens, at, options);
};
// A picture would be asked for from wherever the text says: it is shown as the link that it is.
reader.renderer.rules.image = (tokens, at) => {
  const token = tokens[at];
  const address = reader.utils.escapeHtml(String(token?.attrGet("src") ?? ""));
  return `<a href="${address}" target="_blank" rel="noopener noreferrer">${reader.utils.escapeHtml(token?.content || address)}</a>`;
};

export function toHtml(text: string): string {
  return reader.render(text);
}
