// The player of the report: 3Dmol.js draws the molecule, an SVG the energy along the path, and a cursor links them.
(function () {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const scene = JSON.parse(byId("scene").textContent);
  const margin = { left: 64, right: 24, top: 12, bottom: 44 };
  const size = { width: 480, height: 320 };
  const ENDS = { a: "#1f77b4", b: "#d62728" };

  let viewer = null;
  try {
    byId("player").hidden = false;
    viewer = $3Dmol.createViewer(byId("molecule"), { backgroundColor: "white" });
  } catch (error) {
    viewer = null;
  }
  if (!viewer || !byId("molecule").querySelector("canvas")) {
    byId("player").hidden = true;
    byId("still").hidden = false;
    return;
  }

  let model = null;
  let track = null;
  let frame = 0;
  let timer = null;

  function unpacked(path) {
    const bytes = Uint8Array.from(atob(path.positions), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    const atoms = bytes.length / (6 * path.frames);
    const at = (t, i, axis) => path.step * view.getInt16(2 * (3 * (t * atoms + i) + axis), true);
    return { atoms, at };
  }

  function option(select, value, text) {
    const made = document.createElement("option");
    made.value = value;
    made.textContent = text;
    select.appendChild(made);
  }

  function svg(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const key of Object.keys(attributes)) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    byId("plot").appendChild(made);
    return made;
  }

  function range(values) {
    const known = values.filter((v) => v !== null);
    const low = Math.min(...known);
    const high = Math.max(...known);
    return high > low ? [low, high] : [low - 1, high + 1];
  }

  let across = null;
  let cursor = null;

  function plot() {
    byId("plot").replaceChildren();
    const name = byId("energy").value;
    const values = track.energies[name];
    const [s0, s1] = range(track.along);
    across = (s) => margin.left + ((size.width - margin.left - margin.right) * (s - s0)) / (s1 - s0);
    const left = margin.left;
    const right = size.width - margin.right;
    const bottom = size.height - margin.bottom;
    svg("path", { d: `M${left},${margin.top}V${bottom}H${right}`, fill: "none", stroke: "#555" });
    for (const s of [s0, 0.5 * (s0 + s1), s1])
      svg("text", { x: across(s), y: bottom + 18, "font-size": 12, "text-anchor": "middle" }, s.toFixed(2));
    svg("text", { x: 0.5 * (left + right), y: size.height - 8, "font-size": 13, "text-anchor": "middle" }, track.along_is);
    if (values) {
      const [e0, e1] = range(values);
      const up = (e) => bottom - ((bottom - margin.top) * (e - e0)) / (e1 - e0);
      for (const e of [e0, 0.5 * (e0 + e1), e1])
        svg("text", { x: left - 6, y: up(e) + 4, "font-size": 12, "text-anchor": "end" }, e.toFixed(1));
      svg("text", { x: 14, y: 0.5 * (margin.top + bottom), "font-size": 13, "text-anchor": "middle",
        transform: `rotate(-90 14 ${0.5 * (margin.top + bottom)})` }, name);
      let d = "";
      let broken = true;
      values.forEach((e, t) => {
        if (e !== null) d += `${broken ? "M" : "L"}${across(track.along[t]).toFixed(1)},${up(e).toFixed(1)}`;
        broken = e === null;
      });
      svg("path", { d, fill: "none", stroke: "#1f77b4", "stroke-width": 1.5 });
    }
    cursor = svg("line", { id: "cursor", y1: margin.top, y2: bottom, stroke: "#d62728", "stroke-width": 1.5 });
    show(frame);
  }

  function show(wanted) {
    frame = Math.max(0, Math.min(track.frames - 1, wanted));
    byId("frame").value = String(frame);
    const x = across(track.along[frame]);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    byId("where").value = `${frame + 1} of ${track.frames}`;
    byId("player").dataset.frame = String(frame);
    model.setFrame(frame).then(() => viewer.render());
  }

  function choosePath() {
    track = scene.tracks[Number(byId("path").value)];
    if (model) viewer.removeModel(model);
    model = viewer.addModel(scene.structure, "pdb", { keepH: true });
    const atoms = model.selectedAtoms({});
    const found = unpacked(track);
    for (let t = 0; t < track.frames; t++)
      model.addFrame(atoms.map((atom, i) =>
        Object.assign({}, atom, { x: found.at(t, i, 0), y: found.at(t, i, 1), z: found.at(t, i, 2) })));
    const large = atoms.length > 600;
    model.setStyle({}, large ? { cartoon: {}, line: {} } : { stick: { radius: 0.13 }, sphere: { scale: 0.22 } });
    byId("frame").max = String(track.frames - 1);
    const energy = byId("energy");
    const before = energy.value;
    energy.replaceChildren();
    Object.keys(track.energies).forEach((name) => option(energy, name, name));
    if (track.energies[before]) energy.value = before;
    energy.parentElement.hidden = energy.options.length === 0;
    byId("player").dataset.path = track.name;
    byId("player").dataset.atoms = String(found.atoms);
    frame = 0;
    plot();
  }

  function chooseGroup() {
    const path = byId("path");
    path.replaceChildren();
    scene.tracks.forEach((each, k) => {
      if (each.group === byId("group").value) option(path, String(k), each.name);
    });
    choosePath();
  }

  function play() {
    if (timer !== null) {
      clearInterval(timer);
      timer = null;
    } else {
      if (frame >= track.frames - 1) show(0);
      timer = setInterval(() => {
        if (frame >= track.frames - 1) play();
        else show(frame + 1);
      }, 60);
    }
    byId("play").textContent = timer === null ? "play" : "pause";
  }

  Object.keys(scene.ends).forEach((state, k) => {
    const end = viewer.addModel(scene.ends[state], "pdb", { keepH: true });
    const color = Object.values(ENDS)[k];
    end.setStyle({}, { stick: { radius: 0.06, color, opacity: 0.55 } });
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      if (box.checked) end.show();
      else end.hide();
      viewer.render();
    });
    label.append(box, ` ${state}`);
    label.style.color = color;
    byId("ends").append(label, " ");
  });
  [...new Set(scene.tracks.map((each) => each.group))].forEach((group) => option(byId("group"), group, group));
  byId("group").addEventListener("change", chooseGroup);
  byId("path").addEventListener("change", choosePath);
  byId("energy").addEventListener("change", plot);
  byId("play").addEventListener("click", play);
  byId("frame").addEventListener("input", () => show(Number(byId("frame").value)));
  byId("plot").addEventListener("click", (event) => {
    const box = byId("plot").getBoundingClientRect();
    const scale = Math.min(box.width / size.width, box.height / size.height);
    const x = (event.clientX - box.left - 0.5 * (box.width - scale * size.width)) / scale;
    let nearest = 0;
    track.along.forEach((s, t) => {
      if (Math.abs(across(s) - x) < Math.abs(across(track.along[nearest]) - x)) nearest = t;
    });
    show(nearest);
  });
  chooseGroup();
  viewer.zoomTo();
  viewer.render();
})();
