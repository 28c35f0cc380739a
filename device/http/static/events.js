"use strict";

// Server-sent events, from text as it arrives: whatever the slices, the same events come out.
// Source: HTML standard, "Parsing an event stream", as far as the API uses it.
const Events = (function () {
  const MAX_LINE = 1000000; // characters; a longer one is no honest event

  // handlers: data(text) for each event, note(text) for each comment line.
  function reader(handlers) {
    let rest = "";
    let data = [];

    function line(text) {
      if (text === "") {
        if (data.length) { handlers.data(data.join("\n")); }
        data = [];
      } else if (text.charAt(0) === ":") {
        handlers.note(text.slice(1).trim());
      } else if (text.slice(0, 5) === "data:") {
        data.push(text.slice(text.charAt(5) === " " ? 6 : 5));
      }
    }

    return {
      feed: function (text) {
        const lines = (rest + text).split(/\r\n|\n/);
        rest = lines.pop();
        if (rest.length > MAX_LINE) { throw new Error("an event without end"); }
        lines.forEach(line);
      },
    };
  }

  return { reader: reader };
}());
