// A ranked list that is judged by clicking. Python owns the state: this file draws it and reports what was pressed.

// One result and the gap to the next one; fill() shows another state in it, so that focus stays.
function makePlace(i, send) {
  const place = make("div", "cbk-lab-place");
  const tile = makeButton("cbk-tile cbk-lab-tile", place, "", () => send({ event: "cycle", at: i }), { "data-at": i });
  const rank = make("span", "cbk-lab-rank cbk-note", tile);
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

const GAINS = { 0: 0, 1: 1, 2: 2, 3: 3, j: -1 }; // keys that judge a result

function render({ model, el }) {
  const send = begin(model, el, "cbk-lab-list"), places = []; // kept and filled anew, so that focus stays
  set(el, { role: "group", "aria-label": "ranked list, nearest first" });
  el.addEventListener("keydown", (event) => {
    const value = GAINS[event.key.toLowerCase()], judge = (at) => value !== undefined && [send({ event: "judge", at, value })];
    moveFocus(event, [...el.querySelectorAll(".cbk-lab-tile")], { ArrowRight: 1, ArrowLeft: -1 }, judge);
  });
  return follow(model, () => {
    const items = model.get("items");
    while (places.length < items.length) places.push(makePlace(places.length, send));
    items.forEach((item, i) => places[i].fill(item));
    const shown = places.slice(0, items.length).map((one) => one.place);
    if (el.children.length !== shown.length) el.replaceChildren(...shown);
  });
}
