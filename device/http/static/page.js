"use strict";

// The page: a conversation on the screen, and on this phone only if its owner wants that.
(function () {
  const KEPT = "hearth.conversation"; // the one thing that is ever kept
  const MAX_TURNS = 200;
  const SENT_MESSAGES = 40; // how much of the conversation a question takes along
  const REDRAW_MS = 80;
  const FIELDS = [
    ["Licence", "licence"], ["What it is", "description"], ["Trained on", "trained_on"], ["Bad at", "bad_at"],
  ];

  const at = function (id) { return document.getElementById(id); };
  const conversation = at("conversation");
  const question = at("question");
  const turns = []; // {question, answer, by, model, reason}
  let asking = null; // the AbortController of the answer that is coming

  function element(name, classes, text) {
    const made = document.createElement(name);
    if (classes) { made.className = classes; }
    if (text) { made.textContent = Markdown.plain(text); }
    return made;
  }

  function button(classes, text, act) {
    const made = element("button", classes, text);
    made.type = "button";
    made.addEventListener("click", act);
    return made;
  }

  // Announce; `seen`: also on the screen, where nothing else says it.
  function say(text, seen) {
    at("status").className = seen ? "" : "unseen";
    if (at("status").textContent !== text) { at("status").textContent = text; }
  }

  // An answer on the screen.  Only blocks that are whole are in the live region: a screen reader says each one once.
  function AnswerView() {
    const root = element("article", "answer");
    root.setAttribute("aria-label", "Answer");
    const whole = root.appendChild(element("div"));
    whole.setAttribute("aria-live", "polite");
    const growing = root.appendChild(element("div", "waits"));
    let text = "";
    let drawn = 0;
    let timer = 0;

    function draw(ended) {
      timer = 0;
      const blocks = Markdown.blocks(text);
      const settled = ended ? blocks.length : Markdown.settled(text);
      following(function () {
        growing.textContent = "";
        for (; drawn < settled; drawn += 1) { whole.appendChild(Markdown.build(blocks[drawn])); }
        blocks.slice(drawn).forEach(function (block) { growing.appendChild(Markdown.build(block)); });
      });
    }

    return {
      root: root,
      add: function (piece) {
        text += piece;
        if (!timer) { timer = setTimeout(draw, REDRAW_MS, false); }
      },
      end: function () {
        clearTimeout(timer);
        draw(true);
        growing.className = "";
      },
      text: function () { return text; },
    };
  }

  // Change the page, and stay at its end if that was in sight.
  function following(change) {
    const page = document.documentElement;
    const atEnd = page.scrollHeight - page.scrollTop - page.clientHeight < 80;
    change();
    if (atEnd) { page.scrollTop = page.scrollHeight; }
  }

  function show(view) {
    at("welcome").hidden = true;
    at("anew").hidden = false;
    conversation.appendChild(view);
    document.documentElement.scrollTop = document.documentElement.scrollHeight;
  }

  function showQuestion(text) {
    const asked = element("h2", "asked", text);
    asked.insertBefore(element("span", "unseen", "You asked: "), asked.firstChild);
    show(asked);
  }

  function showEnd(turn, root) {
    const line = element("p", "by", "Answered by ");
    line.appendChild(element("bdi", "", turn.by));
    line.appendChild(document.createTextNode(" with "));
    line.appendChild(button("", turn.model, function () { openAbout(true); })).title = "About this model";
    const notes = { length: "; it was cut there, for it became too long", stopped: "; you stopped it" };
    line.appendChild(document.createTextNode((notes[turn.reason] || "") + "."));
    following(function () { root.appendChild(line); });
  }

  function showTrouble(problem, root, turn) {
    say(Words.trouble(problem));
    following(function () {
      root.appendChild(element("p", "trouble", Words.trouble(problem)));
      if (problem.code === "context_length_exceeded" && turns.indexOf(turn) > 0) {
        root.appendChild(button("again", "Ask in a new conversation", function () {
          anew();
          begin(turn.question);
        }));
      } else if (problem.code !== "too_long") {
        root.appendChild(button("again", "Ask again", function (event) {
          if (asking) { return; }
          event.currentTarget.remove();
          answer(turn, root);
        }));
      }
    });
  }

  // What goes along with a turn's question: the turns before it that have an answer.
  function messages(turn) {
    const sent = [];
    turns.slice(0, turns.indexOf(turn)).forEach(function (before) {
      if (before.reason && before.answer) {
        sent.push({ role: "user", content: before.question }, { role: "assistant", content: before.answer });
      }
    });
    return sent.slice(-SENT_MESSAGES).concat({ role: "user", content: turn.question });
  }

  function begin(text) {
    const turn = { question: text, answer: "", by: "", model: "", reason: "" };
    turns.push(turn);
    showQuestion(text);
    answer(turn);
  }

  // after: the answer that failed, which stays in its place.
  async function answer(turn, after) {
    const view = AnswerView();
    const mine = asking = typeof AbortController === "undefined" ? { abort: function () { /* too old */ } } : new AbortController();
    let by = null;
    if (after) { conversation.insertBefore(view.root, after.nextSibling); } else { show(view.root); }
    busy(true);
    say("Asking…", true);
    try {
      const end = await Talk.ask(messages(turn), {
        place: function (number) { say(number > 0 ? "You are number " + number + " in the queue." : "It is your turn.", true); },
        loading: function (percent) { say(percent > 0 ? "The model is being made ready: " + percent + " %." : "The model is being loaded.", true); },
        by: function (about) {
          by = about;
          say(Words.name(about.node_name) + " is answering…", true);
        },
        text: view.add,
      }, mine.signal);
      finish(turn, view, end.about, end.reason || "stop");
    } catch (error) {
      if (asking !== mine) { return; } // the conversation is another one
      const stopped = error.name === "AbortError";
      if (stopped || error.code === "too_long") { finish(turn, view, by, "stopped"); } else { view.end(); }
      turn.answer = view.text();
      if (!stopped) { showTrouble(typeof error.status === "number" ? error : { status: 0, code: "broken_off" }, view.root, turn); }
      if (stopped) { say("Stopped."); }
    }
    if (asking === mine) {
      asking = null;
      busy(false);
      keep();
    }
  }

  function finish(turn, view, about, reason) {
    view.end();
    turn.answer = view.text();
    turn.reason = reason;
    turn.by = about ? Words.answeredBy(about) : "";
    turn.model = about ? Words.name(about.model) : "";
    if (about) { showEnd(turn, view.root); } else { view.root.appendChild(element("p", "by", "Stopped before an answer began.")); }
    say(about ? "Answered by " + turn.by + " with " + turn.model + "." : "");
  }

  // Which button there is; the keyboard stays where it was.
  function busy(now) {
    const left = document.activeElement;
    at("ask").hidden = now;
    at("stop").hidden = !now;
    if (left === at("ask") && now) { at("stop").focus(); }
    if (left === at("stop") && !now) { question.focus(); }
  }

  function anew() {
    const running = asking;
    asking = null;
    if (running) { running.abort(); }
    turns.length = 0;
    Array.prototype.slice.call(conversation.querySelectorAll(".asked, .answer, .notice")).forEach(function (one) { one.remove(); });
    at("welcome").hidden = false;
    at("anew").hidden = true;
    busy(false);
    say("");
    keep();
  }

  // Kept on this phone only while the switch is on; switched off, it is gone.
  function keep() {
    try {
      if (at("keep").checked) {
        localStorage.setItem(KEPT, JSON.stringify(turns.slice(-MAX_TURNS)));
      } else {
        localStorage.removeItem(KEPT);
      }
    } catch (error) {
      if (at("keep").checked) {
        at("keep").checked = false;
        say("This browser keeps nothing.", true);
      }
    }
  }

  function restore() {
    let kept = null;
    try { kept = JSON.parse(localStorage.getItem(KEPT)); } catch (error) { /* nothing that can be read */ }
    if (!Array.isArray(kept)) { return; }
    at("keep").checked = true;
    kept.slice(-MAX_TURNS).forEach(function (one) {
      const turn = {};
      ["question", "answer", "by", "model", "reason"].forEach(function (field) { turn[field] = String((one && one[field]) || ""); });
      turns.push(turn);
      showQuestion(turn.question);
      const view = AnswerView();
      show(view.root);
      view.add(turn.answer);
      view.end();
      if (turn.by) { showEnd(turn, view.root); }
    });
  }

  function openAbout(open) {
    at("about").hidden = !open;
    at("open-about").setAttribute("aria-expanded", String(open));
    if (open) {
      document.documentElement.scrollTop = 0;
      at("open-about").focus();
    }
  }

  // What is not known of a model is said to be unknown, never left out.
  function card(model) {
    const about = model.hearthmesh || {};
    const facts = Object.assign({}, about, about.card);
    const made = element("article", "card");
    made.appendChild(element("h3", "", model.id));
    const list = made.appendChild(element("dl"));
    FIELDS.forEach(function (field) {
      list.appendChild(element("dt", "", field[0]));
      const value = [].concat(facts[field[1]] || []).filter(function (one) { return one !== "unknown"; }).join("; ");
      list.appendChild(element("dd", "", value || "unknown"));
    });
    list.appendChild(element("dt", "", "Where it is"));
    list.appendChild(element("dd", "", about.local ? "in this box" : "in another box nearby"));
    return made;
  }

  async function showModels() {
    const place = at("models");
    let models = [];
    let text = "There is no model in reach. Ask the owner of this box to put one on it.";
    try { models = await Talk.models(); } catch (error) { text = Words.trouble(error); }
    place.textContent = "";
    models.slice(0, 50).forEach(function (model) { place.appendChild(card(model)); });
    if (!models.length) { place.appendChild(element("p", "", text)); }
    return models;
  }

  // The key comes in the address after "#", which is never sent anywhere; it is taken out of sight at once.
  async function enter() {
    const key = /^#k=([\w-]{1,200})$/.exec(location.hash);
    if (key) {
      history.replaceState(null, "", location.pathname + location.search);
      try {
        await Talk.exchange(key[1]);
      } catch (error) {
        const notice = element("p", "trouble notice", Words.trouble(error));
        conversation.appendChild(notice);
        say(Words.trouble(error));
      }
    }
    await showModels();
  }

  function grow() {
    question.style.height = "auto";
    question.style.height = question.scrollHeight + 2 + "px";
  }

  at("composer").addEventListener("submit", function (event) {
    event.preventDefault();
    const text = question.value.trim();
    if (!text || asking) { return; }
    if (turns.length >= MAX_TURNS) {
      say("This conversation is long enough. Start a new one.", true);
      return;
    }
    question.value = "";
    grow();
    begin(text);
  });
  question.addEventListener("input", grow);
  question.addEventListener("keydown", function (event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      at("ask").click();
    }
  });
  at("stop").addEventListener("click", function () {
    if (asking) { asking.abort(); }
    question.focus();
  });
  at("anew").addEventListener("click", function () {
    anew();
    question.focus();
  });
  at("open-about").addEventListener("click", function () { openAbout(at("about").hidden); });
  at("keep").addEventListener("change", keep);
  window.addEventListener("hashchange", enter);
  if (location.protocol === "https:") { at("plain-http").hidden = at("sniffers").hidden = true; }

  at("no-script").remove();
  restore();
  enter();
}());
