// A grid of pictures that are buttons. Python owns the state: this file draws it and reports what was clicked.

// One button with its picture; fill() shows another tile in it, so that focus and scroll position stay.
function makeTile(onPick) {
  let tile = null;
  const button = makeButton("cbk-tile", null, "", () => onPick(tile.id));
  const picture = make("span", "cbk-picture", button);
  const { img, show, release } = makePicture(picture);
  const rank = make("span", "cbk-rank", picture);
  const mark = makeMark("cbk-mark", picture);
  const line = make("span", "cbk-line", button);
  const caption = make("span", "cbk-caption", line);
  const note = make("span", "cbk-note", line);

  function fill(next) {
    tile = next;
    show(tile.image);
    picture.classList.toggle("cbk-empty", img.hidden);
    img.alt = tile.alt;
    set(button, { "aria-label": tile.alt, title: tile.title, "data-id": tile.id, "data-mark": tile.mark });
    rank.hidden = tile.rank === null;
    rank.textContent = tile.rank ?? "";
    set(mark, { d: MARKS[tile.mark] ?? "" });
    caption.textContent = tile.caption;
    note.textContent = tile.note;
    line.hidden = !tile.caption && !tile.note;
  }
  return { button, fill, release };
}

// One stop of the Tab key for the whole grid: the tile that was used last, else the selected one, else the first.
function setStop(grid, tile = null) {
  const tiles = [...grid.children];
  const stop = tile ?? tiles.find((one) => one === document.activeElement) ?? tiles.find((one) => one.matches(".cbk-selected")) ?? tiles[0];
  tiles.forEach((one) => { one.tabIndex = one === stop ? 0 : -1; });
}

function render({ model, el }) {
  const send = begin(model, el, "cbk-grid");
  const head = make("div", "cbk-head", el);
  const heading = make("span", "cbk-heading", head);
  const summary = make("span", "cbk-summary", head);
  const grid = make("div", "cbk-tiles", el, "", { role: "group" });
  const pick = (id) => send({ event: "pick", id });
  const pool = [];
  let drawn = null;

  function draw() {
    const tiles = model.get("tiles");
    if (tiles !== drawn) {
      while (pool.length < tiles.length) pool.push(makeTile(pick));
      tiles.forEach((tile, i) => pool[i].fill(tile));
      const buttons = pool.slice(0, tiles.length).map((tile) => tile.button);
      if (grid.children.length !== buttons.length) grid.replaceChildren(...buttons);
      if (drawn?.[0]?.id !== tiles[0]?.id) grid.scrollTop = 0;
      drawn = tiles;
    }
    heading.textContent = model.get("heading");
    summary.textContent = model.get("summary");
    head.hidden = !model.get("heading") && !model.get("summary");
    set(grid, { "aria-label": model.get("heading") || "pictures" });
    grid.style.setProperty("--cbk-tile", `${model.get("tile_size")}px`);
    for (const button of grid.children) {
      const selected = button.dataset.id === model.get("selected");
      button.classList.toggle("cbk-selected", selected);
      set(button, { "aria-current": selected });
    }
    setStop(grid);
  }

  grid.addEventListener("keydown", (event) => {
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const names = [event.key.toLowerCase(), event.code?.replace("Digit", "")]; // French keyboards have digits with Shift
    const key = names.find((name) => model.get("hot_keys").includes(name));
    const take = (at) => key && [send({ event: "key", key, id: grid.children[at].dataset.id })];
    moveFocus(event, [...grid.children], { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }, take);
  });
  const attend = ({ event }) => { // Python asks for the focus, which stays in the explorer that has it
    if (event === "focus" && el.closest(".cbk-explorer")?.contains(document.activeElement)) grid.querySelector("[tabindex='0']")?.focus();
  };
  model.on("msg:custom", attend);
  grid.addEventListener("focusin", (event) => setStop(grid, event.target));
  const leave = follow(model, draw);
  return () => [leave(), model.off("msg:custom", attend), ...pool.map((tile) => tile.release())];
}
