// A table of plain text. Python owns the state: this file draws it and reports which row was picked.

function drawRow(body, cells, share, pick, look) {
  const row = make("tr", "", body);
  const head = make("th", "", row, pick ? "" : cells[0], { scope: "row" });
  if (pick) makeButton("cbk-plain", head, cells[0], pick, look);
  for (const cell of cells.slice(1)) make("td", "", row, cell);
  if (share === undefined) return;
  const bar = make("td", "cbk-bar", row, "", { "aria-hidden": true });
  if (share > 0) make("span", "", bar).style.width = `${100 * share}%`;
}

function render({ model, el }) {
  const send = begin(model, el, "cbk-table");

  function draw() {
    const { caption = "", columns = [], rows, shares = [], pickable, titles = [], pressed } = model.get("table");
    const focused = [...el.querySelectorAll("button")].indexOf(document.activeElement);
    const look = (i) => ({ title: titles[i] ?? "", ...(pressed !== undefined && { "aria-pressed": i === pressed }) });
    el.replaceChildren();
    el.hidden = !rows.length && !caption;
    const table = make("table", shares.length ? "cbk-bars" : "", el);
    if (caption) make("caption", "", table, caption);
    const heads = columns.length ? make("tr", "", make("thead", "", table)) : null;
    columns.forEach((column) => make("th", "", heads, column, { scope: "col" }));
    if (heads && shares.length) make("td", "", heads, "", { "aria-hidden": true });
    const body = make("tbody", "", table);
    const pick = (i) => pickable.includes(i) && (() => send({ event: "pick", row: i }));
    rows.forEach((cells, i) => drawRow(body, cells, shares[i], pick(i), look(i)));
    el.querySelectorAll("button")[focused]?.focus();
    body.addEventListener("keydown", (event) => moveFocus(event, [...body.querySelectorAll("button")], { ArrowDown: 1, ArrowUp: -1 }));
  }

  return follow(model, draw);
}
