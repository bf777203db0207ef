// Correcting outlines with mouse, finger or keys. Every action goes to the server, which answers with
// the picture's new outlines; see corrections.py. Until then no other action is taken.
(() => {
  const KEYS = { a: "add", f: "draw", b: "box", s: "split", r: "redraw" };
  const ACTS = { m: "merge", d: "delete", delete: "delete", backspace: "delete", z: "undo",
    y: "redo", t: "retype" };
  const DRAGS = new Set(["draw", "box", "split", "redraw"]);
  let tool = "select", selected = new Set(), busy = false, stroke = null;

  const result = () => document.querySelector(".bccd-result");
  const svgOf = (root) => root?.querySelector(".bccd-figure svg");

  function say(text, wrong = false) {
    const state = result()?.querySelector(".bccd-state");
    if (state) Object.assign(state, { textContent: text }).classList.toggle("wrong", wrong);
  }

  function show() {
    const root = result();
    if (!root) return;
    for (const button of root.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    }
    svgOf(root)?.classList.toggle("tool", tool !== "select");
    for (const path of root.querySelectorAll(".bccd-cell")) {
      path.classList.toggle("chosen", selected.has(Number(path.dataset.cell)));
    }
  }

  function choose(name) {
    tool = name;
    if (name !== "redraw" && name !== "split") selected.clear();
    show();
  }

  function send(action) {
    const root = result(), field = document.querySelector("#bccd-edit textarea, #bccd-edit input");
    if (!root || !field || busy) return;
    busy = true;
    say("working ...");
    const seen = Number(root.dataset.seen || 0);
    field.value = JSON.stringify({ ...action, seen, time: Date.now() });
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function act(name) {
    const cells = [...selected];
    if (name === "undo" || name === "redo") return send({ do: name });
    if (!cells.length) return say("select cells first", true);
    if (name !== "retype") return send({ do: name, cells });
    const field = result().querySelector(".bccd-given");
    if (!field.value.trim()) return field.focus();
    send({ do: name, cells, type: field.value });
  }

  function point(event) {
    const svg = svgOf(result()), at = new DOMPoint(event.clientX, event.clientY);
    const { x, y } = at.matrixTransform(svg.getScreenCTM().inverse());
    return [Math.round(x * 10) / 10, Math.round(y * 10) / 10];
  }

  function drawStroke() {
    const svg = svgOf(result());
    let line = svg.querySelector(".bccd-stroke");
    if (!line) {
      line = document.createElementNS("http://www.w3.org/2000/svg", "path");
      line.setAttribute("class", "bccd-stroke");
      svg.append(line);
    }
    const last = stroke[stroke.length - 1], [first] = stroke;
    const way = tool === "box"
      ? [first, [last[0], first[1]], last, [first[0], last[1]], first] : stroke;
    line.setAttribute("d", `M${way.map((at) => at.join(" ")).join("L")}`);
  }

  function finish() {
    const points = stroke;
    stroke = null;
    svgOf(result())?.querySelector(".bccd-stroke")?.remove();
    if (!points || points.length < 2) return;
    const cells = [...selected];
    if (tool === "box") send({ do: "box", points: [points[0], points[points.length - 1]] });
    else if (tool === "draw") send({ do: "draw", points });
    else send({ do: tool, cells, points });
  }

  document.addEventListener("pointerdown", (event) => {
    const svg = event.target.closest?.(".bccd-figure svg");
    if (!svg || busy || event.button > 0) return;
    const path = event.target.closest(".bccd-cell"), number = Number(path?.dataset.cell);
    if (tool === "select" || (tool === "redraw" && !selected.size)) {
      if (!path) selected.clear();
      else if (!selected.delete(number)) selected.add(number);
      show();
    } else if (tool === "add") send({ do: "add", at: point(event) });
    else if (DRAGS.has(tool)) {
      event.preventDefault();
      svg.setPointerCapture(event.pointerId);
      stroke = [point(event)];
    }
  });
  document.addEventListener("pointermove", (event) => {
    if (!stroke) return;
    const each = event.getCoalescedEvents?.() ?? [];
    for (const one of each.length ? each : [event]) stroke.push(point(one));
    drawStroke();
  });
  document.addEventListener("pointerup", () => { if (stroke) finish(); });
  document.addEventListener("pointercancel", () => {
    stroke = null;
    svgOf(result())?.querySelector(".bccd-stroke")?.remove();
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".bccd-tools button");
    if (!button) return;
    if (button.dataset.tool) choose(button.dataset.tool);
    else act(button.dataset.act);
  });

  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input, textarea, select, [contenteditable]");
    if (event.key === "Enter" && event.target.matches?.(".bccd-given")) return act("retype");
    if (typing || !result() || event.altKey) return;
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (key !== "z" && key !== "y") return;
      event.preventDefault();
      return act(key === "y" || event.shiftKey ? "redo" : "undo");
    }
    if (key === "escape") choose("select");
    else if (key === "enter" || key === " ") {
      const on = result().querySelector(".bccd-cell.on");  // where the arrow keys are
      if (!on || !event.target.closest?.(".bccd-figure svg")) return;
      const number = Number(on.dataset.cell);
      if (!selected.delete(number)) selected.add(number);
      show();
    } else if (KEYS[key]) choose(KEYS[key]);
    else if (ACTS[key]) act(ACTS[key]);
    else return;
    event.preventDefault();
  });

  // The server's answer: new outlines in the picture that stands, or why not.
  function patch(text) {
    busy = false;
    if (!text) return;
    const { html, error } = JSON.parse(text), root = result();
    if (error) return say(error, true);
    const fresh = new DOMParser().parseFromString(html, "text/html").querySelector(".bccd-result");
    selected.clear();
    const svg = svgOf(root);
    for (const path of svg.querySelectorAll(".bccd-cell")) path.remove();
    svg.append(...fresh.querySelectorAll(".bccd-cell"));
    for (const part of [".bccd-types", ".bccd-tools"]) {
      const now = root.querySelector(part), next = fresh.querySelector(part);
      if (now && next) now.replaceWith(next);
      else if (next) svg.parentElement.before(next);
    }
    for (const { name, value } of fresh.attributes) root.setAttribute(name, value);
    root.removeAttribute("data-ready");
    show();
  }

  new MutationObserver(() => {  // another image
    const svg = svgOf(result());
    if (!svg || svg.bccdKnown) return;
    svg.bccdKnown = true;
    busy = false;
    selected.clear();
    show();
  }).observe(document.documentElement, { childList: true, subtree: true });

  window.bccdCorrect = { patch };
})();
