"use strict";

// The box as this page sees it: a key is exchanged, models are listed, a question is asked.
// What goes wrong is thrown as {status, code, message, retryAfterS}; `code` is the API's own or one of
// offline, broken_off, too_long.
const Talk = (function () {
  const MAX_ANSWER = 200000; // characters; far beyond any model, and what an old phone can still show

  function problem(status, code, message, retryAfterS) {
    return { status: status, code: code, message: message || "", retryAfterS: retryAfterS || 0 };
  }

  // The response of a request that was granted.
  async function request(path, options) {
    let response;
    try {
      response = await fetch(path, Object.assign({ credentials: "same-origin", cache: "no-store" }, options, {
        headers: { "Content-Type": "application/json", "X-Hearthmesh": "page" },
      }));
    } catch (error) {
      if (error.name === "AbortError") { throw error; }
      throw problem(0, "offline");
    }
    if (response.ok) { return response; }
    let error = {};
    try { error = (await response.json()).error || {}; } catch (ignored) { /* an answer without a body */ }
    throw problem(response.status, error.code, error.message, Number(response.headers.get("Retry-After")));
  }

  // Exchange a key for a session, which the browser keeps as a cookie that no script can read.
  async function exchange(key) {
    await request("/guest/session", { method: "POST", body: JSON.stringify({ key: key }) });
  }

  async function models() {
    const list = (await (await request("/v1/models", {})).json()).data;
    return Array.isArray(list) ? list : [];
  }

  // Ask; told: place(number), loading(percent converted), by(about), text(piece).  Returns {about, reason} of the answer's end.
  async function ask(messages, told, signal) {
    const body = JSON.stringify({ model: "default", messages: messages, stream: true });
    const response = await request("/v1/chat/completions", { method: "POST", body: body, signal: signal });
    const answer = { about: {}, reason: "", size: 0, ended: false };
    const reader = Events.reader({
      data: function (text) { take(text, answer, told); },
      note: function (text) {
        const place = /^queue (\d{1,6})$/.exec(text);
        const loading = /^(?:loading|converting (\d{1,3}))$/.exec(text);
        if (place) { told.place(Number(place[1])); }
        if (loading) { told.loading(Number(loading[1] || 0)); }
      },
    });
    try {
      await pour(response, reader);
    } catch (error) {
      if (error.name === "AbortError" || typeof error.status === "number") { throw error; }
      throw problem(0, "broken_off");
    }
    if (!answer.ended) { throw problem(0, "broken_off"); }
    return answer;
  }

  async function pour(response, reader) {
    if (!response.body || !response.body.getReader) { // an old phone: all at once
      reader.feed(await response.text());
      return;
    }
    const bytes = response.body.getReader();
    const decoder = new TextDecoder();
    try {
      for (let next = await bytes.read(); !next.done; next = await bytes.read()) {
        reader.feed(decoder.decode(next.value, { stream: true }));
      }
    } catch (error) {
      bytes.cancel().catch(function () { /* it is over anyway */ });
      throw error;
    }
  }

  function take(text, answer, told) {
    if (text === "[DONE]") {
      answer.ended = true;
      return;
    }
    const chunk = JSON.parse(text);
    if (chunk.error) { throw problem(500, chunk.error.code || "error", chunk.error.message); }
    if (chunk.hearthmesh) {
      Object.assign(answer.about, chunk.hearthmesh);
      told.by(answer.about);
    }
    const choice = (chunk.choices || [])[0];
    if (!choice) { return; }
    answer.reason = choice.finish_reason || answer.reason;
    const piece = choice.delta && choice.delta.content;
    if (typeof piece === "string" && piece) {
      answer.size += piece.length;
      if (answer.size > MAX_ANSWER) { throw problem(0, "too_long"); }
      told.text(piece);
    }
  }

  return { exchange: exchange, models: models, ask: ask };
}());
