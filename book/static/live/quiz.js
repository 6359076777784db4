// The quiz "real or completed?". Everything stays in this page's memory: nothing is stored, nothing is sent.
// The faces lie on one sheet and are drawn on a canvas, so that no name, address or text tells an answer.

import { element } from "./elements.js";
import { byGuessing, detection, wilson } from "./statistics.js";

const NAMES = {
  "": "untouched", glcic_64: "GLCIC", dcgan: "semantic inpainting", denoising_64: "denoising autoencoder",
  context_encoder_64: "context encoder", telea: "Telea (classical)",
};
const HOLES = { center: "centre", rectangle: "rectangle", glcic: "box", strokes: "strokes", half: "half" };
const BRIEF = 1000; // milliseconds

const root = document.getElementById("quiz");
const files = new URL("./", import.meta.url); // beside this script, wherever the page lies
const percent = (share) => `${Math.round(100 * share)} %`;
const interval = (k, n) => { const [low, high] = wilson(k, n); return `${percent(low)} to ${percent(high)}`; };

const button = (text, act, keys) => {
  const made = element("button", text, { type: "button", ...(keys ? { "aria-keyshortcuts": keys } : {}) });
  made.addEventListener("click", act);
  return made;
};

const picture = (name) => new Promise((resolve, reject) => {
  const image = new Image();
  image.onload = () => resolve(image);
  image.onerror = () => reject(new Error(name));
  image.src = new URL(name, files);
});

const shuffled = (list) => { // Fisher and Yates
  const copy = [...list];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [copy[i], copy[j]] = [copy[j], copy[i]];
  }
  return copy;
};

let quiz; // {size, columns, items, faces}
let half = Math.floor(Math.random() * 2); // the faces come in two halves: a second round shows none of the first
let played = 0;

const draw = (canvas, sheet, place) => {
  const { size, columns } = quiz;
  canvas.getContext("2d").drawImage(sheet, -(place % columns) * size, -Math.floor(place / columns) * size);
};

const faceCanvas = (label) => element("canvas", "", { width: quiz.size, height: quiz.size, role: "img", "aria-label": label });

function begin() {
  const count = quiz.items.filter((item) => item.round === half).length;
  const limit = element("fieldset");
  limit.append(element("legend", "How long each face stays"));
  for (const [value, text] of [["free", "as long as I like"], ["brief", "one second"]]) {
    const label = element("label");
    const radio = element("input", "", { type: "radio", name: "quiz-time", value });
    radio.checked = value === "free";
    label.append(radio, ` ${text}`);
    limit.append(label);
  }
  const start = button(played ? "Play again" : "Start", () => play(limit.querySelector(":checked").value === "brief"));
  const seen = played > 1 ? " You have seen these faces before, so this round says less."
    : played ? " None of these faces was in the last round." : "";
  root.replaceChildren(
    element("p", `${count} faces, one at a time: half of them untouched, half with a part that a method filled in.${seen}`),
    limit, start);
}

function play(brief) {
  const order = shuffled(quiz.items.map((item, place) => ({ ...item, place })).filter((item) => item.round === half));
  const answers = [];
  let since = 0, timer = 0;
  const canvas = faceCanvas("");
  const status = element("p", "", { role: "status" });
  const bar = element("progress", "", { max: order.length, value: 0, "aria-label": "Faces answered" });
  const answer = (completed) => {
    clearTimeout(timer);
    answers.push({ ...order[answers.length], completed, seconds: (performance.now() - since) / 1000 });
    if (answers.length < order.length) next();
    else finish(answers, brief);
  };
  const left = button("← Untouched", () => answer(false), "ArrowLeft U");
  const right = button("Completed →", () => answer(true), "ArrowRight C");
  const stage = element("div", "", { role: "group", "aria-label": "Untouched or completed?", tabindex: "-1" });
  stage.className = "quiz-stage";
  const answerRow = element("div", "", { class: "quiz-answers" });
  answerRow.append(left, right);
  stage.append(canvas, status, answerRow, bar);
  stage.addEventListener("keydown", (event) => { // heard only while the quiz has the focus
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const completed = { ArrowLeft: false, u: false, U: false, ArrowRight: true, c: true, C: true }[event.key];
    if (completed === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    answer(completed);
  });
  const next = () => {
    const number = answers.length + 1;
    draw(canvas, quiz.faces, order[answers.length].place);
    canvas.setAttribute("aria-label", `Face ${number} of ${order.length}`);
    status.textContent = `Face ${number} of ${order.length}: untouched or completed?`;
    bar.value = answers.length;
    since = performance.now();
    if (brief) timer = setTimeout(() => canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height), BRIEF);
  };
  root.replaceChildren(stage);
  stage.focus({ preventScroll: true });
  stage.scrollIntoView({ block: "nearest" });
  next();
}

function finish(answers, brief) {
  played += 1;
  half = 1 - half;
  const right = answers.filter((one) => one.completed === (one.method !== ""));
  const touched = answers.filter((one) => one.method);
  const untouched = answers.filter((one) => !one.method);
  const hits = touched.filter((one) => one.completed).length;
  const alarms = untouched.filter((one) => one.completed).length;

  const heading = element("h2", "Your score", { tabindex: "-1" });
  const score = element("p", `Right: ${right.length} of ${answers.length}, that is ${percent(right.length / answers.length)} `
    + `(95 % interval ${interval(right.length, answers.length)}). Who tosses a coin is right as often or more often in `
    + `${guessed(right.length, answers.length)} of such rounds.`, { "data-part": "score" });
  const { sensitivity, criterion } = detection(hits, touched.length, alarms, untouched.length);
  root.replaceChildren(heading, score, table(answers, touched, untouched),
    element("p", `Completed faces that you found out (hits): ${hits} of ${touched.length}. Untouched faces that you took for `
      + `completed (false alarms): ${alarms} of ${untouched.length}. Sensitivity d′ = ${signed(sensitivity)} `
      + `(0: cannot tell them apart), criterion c = ${signed(criterion)}: ${leaning(criterion)}`, { "data-part": "detection" }),
    ...copying(answers, brief), ...review(answers), element("h2", "Once more"));
  const again = element("div");
  root.append(again);
  heading.focus({ preventScroll: true });
  heading.scrollIntoView({ block: "start" });
  again.append(button("Another round", () => {
    begin();
    root.scrollIntoView({ block: "start" });
    root.querySelector("button").focus();
  }));
}

const signed = (x) => x.toFixed(2).replace("-", "−");

const guessed = (k, n) => { const p = byGuessing(k, n); return p < 0.001 ? "fewer than 0.1 %" : `${(100 * p).toFixed(1)} %`; };

const leaning = (c) => (Math.abs(c) < 0.2 ? "you lean neither way."
  : c > 0 ? "in doubt, you say untouched." : "in doubt, you say completed.");

// How often faces were taken for untouched: the untouched themselves, all completed ones, and those of each method.
function table(answers, touched, untouched) {
  const rows = [["untouched", untouched], ["completed, all methods", touched],
    ...Object.entries(NAMES).filter(([name]) => name)
      .map(([name, called]) => [called, touched.filter((one) => one.method === name)])];
  const box = element("div", "", {
    class: "quiz-table", tabindex: "0", role: "region", "aria-label": "Faces taken for untouched" });
  const made = element("table", "", { class: "table" });
  made.append(element("caption", "Faces that you took for untouched"));
  const head = made.createTHead().insertRow();
  for (const text of ["Faces", "of", "share", "95 % interval"]) head.append(element("th", text, { scope: "col" }));
  const body = made.createTBody();
  for (const [name, some] of rows) {
    const taken = some.filter((one) => !one.completed).length;
    const row = body.insertRow();
    row.append(element("th", name, { scope: "row" }), element("td", `${taken} of ${some.length}`),
      element("td", percent(taken / some.length)), element("td", interval(taken, some.length)));
  }
  box.append(made);
  return box;
}

function copying(answers, brief) {
  const lines = ["round,viewing,question,item,method,hole,answer,right,seconds", ...answers.map((one, i) => [
    played, brief ? "1 s" : "free", i + 1, one.place, one.method || "untouched", one.kind || "none",
    one.completed ? "completed" : "untouched", one.completed === (one.method !== "") ? 1 : 0, one.seconds.toFixed(2)].join(","))];
  const text = element("textarea", lines.join("\n") + "\n", { readonly: "", rows: "6", "aria-label": "Your answers as CSV" });
  const said = element("span", "", { role: "status" });
  const copy = button("Copy the answers", async () => {
    try {
      await navigator.clipboard.writeText(text.value);
      said.textContent = " Copied.";
    } catch { // a page without https may not reach the clipboard by itself
      text.select();
      said.textContent = " Selected: press Ctrl+C, or Cmd+C.";
    }
  });
  const row = element("p");
  row.append(copy, said);
  return [element("h2", "Your answers, for a class"),
    element("p", "One line for each face, without your name. They are in this page only and are gone when you leave it."),
    text, row];
}

// Every face again, what was true, and where the hole was.
function review(answers) {
  const list = element("ol", "", { class: "quiz-review" });
  const shown = answers.map((one, i) => {
    const right = one.completed === (one.method !== "");
    const entry = element("li");
    const truth = one.method ? `${NAMES[one.method]}, ${HOLES[one.kind]}` : "untouched";
    entry.append(faceCanvas(`Face ${i + 1} as it was shown`));
    draw(entry.firstChild, quiz.faces, one.place);
    if (one.method) entry.append(faceCanvas(`Face ${i + 1}, filled part marked: ${HOLES[one.kind]}`));
    entry.append(element("span", `${i + 1}. ${truth}`), element("span", right ? "✓ right" : "✗ wrong"));
    list.append(entry);
    return entry;
  });
  picture("quiz_holes.png").then((sheet) => answers.forEach((one, i) => { // loaded only now
    if (one.method) draw(shown[i].children[1], sheet, one.place);
  })).catch(() => {});
  return [element("h2", "The faces again"),
    element("p", "Beside each completed face the part that was filled in is violet."), list];
}

try {
  const [read, faces] = await Promise.all([fetch(new URL("quiz.json", files)), picture("quiz.png")]);
  if (!read.ok) throw new Error("quiz.json");
  quiz = { ...await read.json(), faces };
  begin();
} catch (error) {
  root.replaceChildren(element("p", `The quiz cannot be shown: ${error.message} was not found beside this page. Build the book `
    + "with make book, or play with the eight faces on paper below.", { role: "alert" }));
}
