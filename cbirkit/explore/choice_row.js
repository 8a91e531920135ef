// Buttons of which one is pressed. Python owns the state: this file draws it and reports what was pressed.

function render({ model, el }) {
  const send = begin(model, el, "cbk-choices"), buttons = [];
  const choose = (event) => send({ event: "choose", value: event.target.dataset.value });

  function draw() {
    const options = model.get("options");
    set(el, { role: "group", "aria-label": model.get("name") });
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
