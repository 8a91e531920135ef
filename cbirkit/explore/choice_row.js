// Buttons of which one is pressed, and a field for a new one. Python owns the state: this file draws it and reports.

function render({ model, el }) {
  const send = begin(model, el, "cbk-choices"), buttons = [];
  const choose = (event) => send({ event: "choose", value: event.target.dataset.value });
  const field = make("input", "", el, "", { type: "text" });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    send({ event: "add", text: field.value });
    field.value = "";
  });

  function draw() {
    const options = model.get("options");
    set(el, { role: "group", "aria-label": model.get("name") });
    field.hidden = !(field.ariaLabel = field.placeholder = model.get("adding"));
    while (buttons.length < options.length) buttons.push(makeButton("cbk-button", el, "", choose));
    buttons.forEach((button, i) => {
      button.hidden = i >= options.length;
      if (button.hidden) return;
      [button.textContent, button.dataset.value] = options[i];
      set(button, { "aria-pressed": options[i][1] === model.get("value") });
    });
  }

  return follow(model, draw);
}
