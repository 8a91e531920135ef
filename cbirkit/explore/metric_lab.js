// The Metric Lab: a ranked list that is edited by clicking. Python owns the state and computes every number: this file
// draws `view` and reports what was pressed.

// One result and the gap to the next one; fill() shows another state in it, so that focus stays.
function makePlace(i, send) {
  const place = make("div", "cbk-lab-place");
  const tile = makeButton("cbk-tile cbk-lab-tile", place, "", () => send({ event: "cycle", at: i }), { "data-at": i });
  const rank = make("span", "cbk-lab-rank", tile);
  const path = makeMark("cbk-mark cbk-lab-mark", tile);
  const word = make("span", "cbk-lab-word", tile);
  const gap = makeButton("cbk-plain cbk-lab-gap", place, "", () => send({ event: "tie", at: i }));
  const term = make("span", "cbk-lab-term", place);
  function fill(item) {
    set(tile, { "data-mark": item.mark, "aria-label": item.alt, title: item.alt });
    rank.textContent = item.rank;
    set(path, { d: MARKS[item.mark] });
    word.textContent = item.word;
    term.textContent = item.term;
    gap.hidden = item.gap === null;
    gap.textContent = item.gap ? "=" : "<";
    set(gap, { "aria-pressed": Boolean(item.gap), "aria-label": item.gap_alt, title: item.gap_alt });
  }
  return { place, fill };
}

function makeControls(parent, send) {
  const row = make("div", "cbk-lab-controls", parent);
  const labelled = (text) => make("label", "", row, text);
  const preset = make("select", "cbk-lab-preset", labelled("example "));
  preset.addEventListener("change", () => preset.value && send({ event: "preset", name: preset.value }));
  const numbers = {};
  for (const [name, text] of [["length", "results "], ["missing", "positives not in the list "], ["k", "k "]]) {
    const input = make("input", "", labelled(text), "", { type: "number" });
    // Not while it is typed: on the way to 15 results a list of 1 would lose the others.
    const commit = () => input.value !== input.dataset.shown && send({ event: name, value: input.valueAsNumber });
    input.addEventListener("change", commit);
    input.addEventListener("keydown", (event) => event.key === "Enter" && commit());
    numbers[name] = input;
  }
  const graded = make("input", "", labelled(""), "", { type: "checkbox" });
  graded.addEventListener("change", () => send({ event: "graded", value: graded.checked }));
  graded.parentNode.append(" graded (1 to 3)");
  return (view) => {
    if (preset.options.length !== view.presets.length + 1) {
      preset.replaceChildren(...["", ...view.presets].map((name) => new Option(name || "your own", name)));
    }
    preset.value = view.preset;
    for (const [name, input] of Object.entries(numbers)) {
      [input.min, input.max] = view.limits[name];
      input.value = input.dataset.shown = view[name];
    }
    graded.checked = view.graded;
  };
}

// One row of a table: a button with the metric's name, its value with a bar, its formula.
function makeRow(body, send) {
  const row = make("tr", "", body);
  const head = make("th", "", row, "", { scope: "row" });
  const choose = makeButton("cbk-plain cbk-lab-choose", head, "", () => send({ event: "metric", key: row.dataset.key }));
  const value = make("td", "cbk-lab-value", row);
  const figure = make("span", "cbk-lab-number", value);
  const bar = make("span", "cbk-lab-bar", value, "", { "aria-hidden": true });
  const text = make("td", "cbk-lab-text", row);
  return (metric, chosen) => {
    row.dataset.key = metric.key;
    row.classList.toggle("cbk-lab-chosen", chosen);
    choose.textContent = metric.name;
    set(choose, { title: `evaluate calls it ${metric.key}; press to see how its value comes about`, "aria-pressed": chosen });
    figure.textContent = metric.shown;
    bar.style.setProperty("--share", metric.share ?? 0);
    bar.hidden = metric.share === null;
    text.textContent = metric.text;
  };
}

// A table of one group of metrics; gives its body.
function makeTable(parent, group) {
  const table = make("table", "cbk-lab-table", parent);
  make("caption", "", table, group);
  return make("tbody", "", table);
}

// Arrow keys, Home and End move the focus from tile to tile; digits and j judge the tile.
function keys(event, list, send) {
  const tiles = [...list.querySelectorAll(".cbk-lab-tile")];
  const here = tiles.indexOf(document.activeElement);
  if (here < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  const judged = { 0: 0, 1: 1, 2: 2, 3: 3, j: -1 }[event.key.toLowerCase()];
  if (judged === undefined) return moveFocus(event, tiles, { ArrowRight: 1, ArrowLeft: -1 });
  send({ event: "judge", at: here, value: judged });
  event.preventDefault();
}

function render({ model, el }) {
  const send = begin(model, el, "cbk-lab");
  make("div", "cbk-heading", el, "Metric Lab");
  set(el, { role: "group", "aria-label": "Metric Lab" });
  const fillControls = makeControls(el, send);
  const note = make("div", "cbk-lab-note", el);
  const list = make("div", "cbk-lab-list", el, "", { role: "group", "aria-label": "ranked list, nearest first" });
  list.addEventListener("keydown", (event) => keys(event, list, send));
  const how = make("div", "cbk-status", el, "", { role: "status" });
  const title = make("span", "cbk-lab-title", how);
  const line = make("span", "cbk-lab-line", how);
  const counts = make("div", "cbk-lab-note", el);
  const frame = make("div", "cbk-lab-groups", el);
  const places = [], bodies = {}, rows = []; // kept and filled anew, so that focus stays

  function draw() {
    const view = model.get("view");
    fillControls(view);
    note.textContent = view.note;
    while (places.length < view.items.length) places.push(makePlace(places.length, send));
    view.items.forEach((item, i) => places[i].fill(item));
    const shown = places.slice(0, view.items.length).map((one) => one.place);
    if (list.children.length !== shown.length) list.replaceChildren(...shown);
    title.textContent = view.problem ? "" : `${view.metrics[view.chosen].name}: `;
    line.textContent = view.problem || view.metrics[view.chosen].line;
    how.classList.toggle("cbk-problem", Boolean(view.problem));
    counts.textContent = view.counts;
    view.metrics.forEach((metric, i) => {
      bodies[metric.group] ??= makeTable(frame, metric.group);
      rows[i] ??= makeRow(bodies[metric.group], send);
      rows[i](metric, i === view.chosen);
    });
  }

  el.addEventListener("cbk-gone", () => {
    how.classList.add("cbk-problem");
    title.textContent = "";
    line.textContent = GONE;
  });
  return follow(model, draw);
}
