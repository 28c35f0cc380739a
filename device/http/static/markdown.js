"use strict";

// Markdown, as far as models write it, to elements; text stays text.  Nothing here makes markup from a string.
// An answer is cut into blocks; a block that another one follows never changes again, so it is built once.
const Markdown = (function () {
  const MAX_BLOCK = 10000; // characters of a paragraph; a longer one goes on in the next
  const MAX_INLINE = 1000; // how far apart the two ends of **bold** may be
  const MAX_DEPTH = 4; // bold in italic in a link
  // What steers terminals and what turns text around, so that it reads otherwise than it is.
  const STEERING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

  const FENCE = /^\s{0,3}(```|~~~)/;
  const HEADING = /^(#{1,6})\s+(.*)$/;
  const RULE = /^\s{0,3}(?:-{3,}|\*{3,}|_{3,})\s*$/;
  const ITEM = /^(\s{0,12})(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;
  const QUOTE = /^\s{0,3}>\s?(.*)$/;
  const TABLE = /^\s{0,3}\|/;
  const BLANK = /^\s*$/;

  function plain(text) {
    return String(text).replace(STEERING, "\ufffd");
  }

  function element(name, children) {
    const made = document.createElement(name);
    (children || []).forEach(function (child) {
      made.appendChild(typeof child === "string" ? document.createTextNode(child) : child);
    });
    return made;
  }

  // The kind of block that a line belongs to, where it does not go on with the block before it.
  function kind(line) {
    if (FENCE.test(line)) { return "fence"; }
    if (HEADING.test(line)) { return "heading"; }
    if (RULE.test(line)) { return "rule"; }
    if (ITEM.test(line)) { return "list"; }
    if (QUOTE.test(line)) { return "quote"; }
    if (TABLE.test(line)) { return "table"; }
    return "paragraph";
  }

  function goesOn(block, line) {
    if (block.size + line.length > MAX_BLOCK) { return false; }
    if (block.kind === "heading" || block.kind === "rule") { return false; }
    const next = kind(line);
    if (block.kind === "list") { return next === "list" || (next === "paragraph" && /^\s/.test(line)); }
    return next === block.kind;
  }

  // Cut a text into blocks: {kind, lines, size}.
  function blocks(text) {
    const found = [];
    let open = null;

    function begin(name, mark) {
      open = { kind: name, lines: [], size: 0, mark: mark };
      found.push(open);
    }

    function take(line) {
      if (open && open.kind === "fence") {
        if (line.trim() === open.mark) {
          open = null;
        } else {
          if (open.size + line.length > MAX_BLOCK) { begin("fence", open.mark); }
          add(open, line);
        }
      } else if (BLANK.test(line)) {
        open = null;
      } else if (open && goesOn(open, line)) {
        add(open, line);
      } else if (FENCE.test(line)) {
        begin("fence", FENCE.exec(line)[1]);
      } else {
        begin(kind(line), "");
        add(open, line);
      }
    }

    plain(text.replace(/\r\n?/g, "\n")).split("\n").forEach(function (line) {
      take(line.slice(0, MAX_BLOCK));
      for (let at = MAX_BLOCK; at < line.length; at += MAX_BLOCK) { take(line.slice(at, at + MAX_BLOCK)); }
    });
    return found;
  }

  // How many blocks at the beginning of a text stay as they are, whatever follows it.
  function settled(text) {
    return Math.max(0, blocks(text.slice(0, text.lastIndexOf("\n") + 1)).length - 1);
  }

  function add(block, line) {
    block.lines.push(line);
    block.size += line.length + 1;
  }

  // Build the element of a block.
  function build(block) {
    const text = block.lines.join("\n");
    if (block.kind === "fence" || block.kind === "table") { return scrolling(element("pre", [element("code", [text])])); }
    if (block.kind === "rule") { return element("hr"); }
    if (block.kind === "heading") {
      // Of whatever depth: the question stands above it as a h2, and no level may be left out between.
      return element("h3", inline(unclosed(HEADING.exec(text)[2].trim()), 0));
    }
    if (block.kind === "list") { return list(block.lines); }
    if (block.kind === "quote") {
      const inner = block.lines.map(function (line) { return QUOTE.exec(line)[1]; });
      return element("blockquote", [element("p", inline(inner.join("\n"), 0))]);
    }
    return element("p", inline(text, 0));
  }

  // A heading's text without the #s that close it; a regular expression would begin anew at every blank.
  function unclosed(text) {
    let end = text.length;
    while (end > 0 && text[end - 1] === "#") { end -= 1; }
    return end < text.length && /\s/.test(text.charAt(end - 1)) ? text.slice(0, end).trim() : text;
  }

  function scrolling(made) {
    made.tabIndex = 0; // so that a keyboard reaches what stands outside
    return made;
  }

  // One level below another for each deeper indent.
  function list(lines) {
    let root = null;
    let levels = [];
    lines.forEach(function (line) {
      const parts = ITEM.exec(line);
      if (!parts) {
        const last = levels[levels.length - 1].items.lastChild;
        inline("\n" + line.trim(), 0).forEach(function (child) { last.appendChild(child); });
        return;
      }
      const indent = parts[1].length;
      while (levels.length > 1 && indent < levels[levels.length - 1].indent) { levels.pop(); }
      const level = levels[levels.length - 1];
      if (!level || (indent > level.indent + 1 && levels.length < MAX_DEPTH)) {
        const items = element(parts[2] === undefined ? "ul" : "ol");
        if (parts[2] !== undefined && parts[2] !== "1") { items.start = Number(parts[2]); }
        if (level) { level.items.lastChild.appendChild(items); } else { root = items; }
        levels.push({ indent: indent, items: items });
      }
      levels[levels.length - 1].items.appendChild(element("li", inline(parts[3], 0)));
    });
    return root;
  }

  // The nodes of a line's text: code, bold, italic, links, and addresses by themselves.
  function inline(text, depth) {
    const nodes = [];
    let from = 0;
    let said = 0;
    while (from < text.length) {
      const found = depth < MAX_DEPTH ? marked(text, from, depth) : null;
      if (found) {
        if (from > said) { nodes.push(document.createTextNode(text.slice(said, from))); }
        found.nodes.forEach(function (node) { nodes.push(node); });
        from = said = found.end;
      } else {
        from += 1;
      }
    }
    if (said < text.length) { nodes.push(document.createTextNode(text.slice(said))); }
    return nodes;
  }

  // What begins at this place, if anything does: {nodes, end}.
  function marked(text, at, depth) {
    const here = text.charAt(at);
    if (here === "\\" && /[\\`*_[\]#>~|!-]/.test(text.charAt(at + 1))) {
      return { nodes: [document.createTextNode(text.charAt(at + 1))], end: at + 2 };
    }
    if (here === "`") { return enclosed(text, at, "`", function (inner) { return element("code", [inner]); }); }
    if (here === "*" || here === "_") {
      const twice = here + here;
      const inWord = here === "_" && /\w/.test(text.charAt(at - 1));
      const strong = text.slice(at, at + 2) === twice;
      return inWord ? null : enclosed(text, at, strong ? twice : here, function (inner) {
        return element(strong ? "strong" : "em", inline(inner, depth + 1));
      });
    }
    if (here === "[" || (here === "!" && text.charAt(at + 1) === "[")) { return link(text, at, depth); }
    if (here === "h" && !/\w/.test(text.charAt(at - 1))) { return address(text, at); }
    return null;
  }

  function enclosed(text, at, mark, make) {
    const start = at + mark.length;
    const window = text.slice(start, start + MAX_INLINE);
    const length = window.indexOf(mark);
    const inner = window.slice(0, length);
    if (length < 1 || (mark !== "`" && (/^\s/.test(inner) || /\s$/.test(inner)))) { return null; }
    return { nodes: [make(inner)], end: start + length + mark.length };
  }

  // [text](target): the text, and its target in sight; a picture is a link too, for nothing is loaded.
  function link(text, at, depth) {
    const parts = /^!?\[([^[\]]{0,300})\]\(<?([^\s()<>]{1,1000})>?(?:\s+"[^"]{0,300}")?\)/.exec(text.slice(at, at + 1700));
    if (!parts) { return null; }
    const target = web(parts[2]);
    if (!target) { return null; }
    const said = inline(parts[1], depth + 1);
    return {
      nodes: parts[1] === parts[2] ? [target] : said.concat(document.createTextNode(" ("), target, document.createTextNode(")")),
      end: at + parts[0].length,
    };
  }

  function address(text, at) {
    const parts = /^https?:\/\/[^\s<>"'`()[\]{}|\\^]{1,1000}/.exec(text.slice(at, at + 1100));
    const shown = parts ? parts[0].replace(/[.,;:!?*_]+$/, "") : "";
    const target = shown ? web(shown) : null;
    return target ? { nodes: [target], end: at + shown.length } : null;
  }

  // An address of the web as a link that shows where it leads; null for any other scheme.
  function web(text) {
    let url;
    try { url = new URL(text); } catch (error) { return null; }
    if (url.protocol !== "https:" && url.protocol !== "http:") { return null; }
    const made = element("a", [url.href]);
    made.href = url.href;
    made.rel = "noopener noreferrer nofollow";
    made.target = "_blank";
    return made;
  }

  return { blocks: blocks, settled: settled, build: build, plain: plain };
}());
