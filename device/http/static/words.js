"use strict";

// What went wrong, in plain words for somebody who knows nothing of this box, and what to do.
const Words = (function () {
  const OWNER = "the owner of this box";

  const BY_CODE = {
    busy: "The box is busy: too many people are asking.",
    stopping: "The box is being switched off or restarted.",
    context_length_exceeded: "This conversation has become too long for the model.",
    model_not_found: "No box in reach has a model that can answer.",
    node_unreachable: "The box that would answer is out of reach now.",
    node_not_found: "The box that would answer is out of reach now.",
    answer_lost: "The box that was answering is gone. What it said so far stays here.",
    worker_died: "The model stopped in the middle. What it said so far stays here.",
    neighbour_failed: "The box that was answering could not go on. What it said so far stays here.",
    neighbour_misbehaved: "The box that was answering sent something that makes no sense.",
    request_too_large: "That is too much text at once.",
    request_too_slow: "The question did not get through in time.",
  };

  const TO_DO = {
    context_length_exceeded: "Start a new conversation, or ask with fewer words.",
    model_not_found: "Ask " + OWNER + " to put a model on it.",
    request_too_large: "Ask with fewer words.",
  };

  // problem: {status, code, message, retryAfterS} as Talk makes it.  Returns one or two sentences.
  function trouble(problem) {
    if (problem.code === "offline") {
      return "The box does not answer. Is this phone still on its Wi-Fi? Then ask again.";
    }
    if (problem.code === "broken_off") {
      return "The connection to the box broke off. What came so far stays here.";
    }
    if (problem.code === "too_long") {
      return "The answer became too long for this page and was stopped here.";
    }
    if (problem.status === 401) {
      return "This box asks for a key, and the one of this phone is missing, wrong or was taken back. Scan the QR code again, or ask " + OWNER + " for a new one.";
    }
    if (problem.status === 403) {
      return "The box does not let this page ask. Open it by scanning the QR code again.";
    }
    if (problem.status === 429) {
      return "You have used up what this key may ask for now. It renews " + after(problem.retryAfterS) + ".";
    }
    const what = BY_CODE[problem.code] || said(problem.message) || "Something went wrong in the box.";
    if (problem.status === 503) { return what + " Ask again " + after(problem.retryAfterS) + "."; }
    return what + " " + (TO_DO[problem.code] || "You can ask again.");
  }

  function said(message) {
    const text = Markdown.plain(message || "").slice(0, 300);
    return text ? text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") : "";
  }

  // A span of time as people say it.
  function after(seconds) {
    if (!(seconds > 0)) { return "later"; }
    if (seconds < 60) { return "in " + count(Math.ceil(seconds), "second"); }
    if (seconds < 3600) { return "in " + count(Math.ceil(seconds / 60), "minute"); }
    return "in " + count(Math.ceil(seconds / 3600), "hour");
  }

  function count(number, one) {
    return number + " " + one + (number === 1 ? "" : "s");
  }

  // Who gave an answer: "ember", or "ember, then attic".
  function answeredBy(about) {
    const names = (about.parts || []).slice(0, 8).map(function (part) { return name(part.node_name); });
    return names.join(", then ") || name(about.node_name);
  }

  function name(text) {
    return Markdown.plain(text || "unknown").slice(0, 80);
  }

  return { trouble: trouble, answeredBy: answeredBy, name: name };
}());
