"use strict";
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const plots = {};

  // Ink and grid of every chart, for the page's light or dark.
  function colours(layout, isDark) {
    const ink = isDark ? "#e8eaed" : "#1b1e23", grid = isDark ? "#383e46" : "#d8dce2";
    const update = { "font.color": ink };
    for (const key of Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name)))
      Object.assign(update, { [key + ".gridcolor"]: grid, [key + ".zerolinecolor"]: grid, [key + ".linecolor"]: grid });
    update["hoverlabel.bgcolor"] = isDark ? "#1e2227" : "#ffffff";
    update["hoverlabel.font.color"] = ink;
    return update;
  }

  function apply(layout, update) {
    for (const [path, value] of Object.entries(update)) {
      const keys = path.split("."), last = keys.pop();
      keys.reduce((at, key) => (at[key] = at[key] || {}), layout)[last] = value;
    }
  }

  // A narrow window: small charts one under the other, so that their titles have room.
  function stacked(plot, layout) {
    const axes = Object.keys(layout).filter((name) => /^xaxis\d*$/.test(name));
    if (axes.length < 2 || plot.clientWidth > 560) return;
    axes.forEach((x, k) => {
      const top = 1 - k / axes.length, y = x.replace("x", "y");
      layout[x].domain = [0, 1];
      Object.assign(layout[y], { domain: [top - 0.62 / axes.length, top], showticklabels: true });
    });
    layout.height = 170 * axes.length;
    plot.style.height = layout.height + "px";
  }

  async function draw(block) {
    const name = block.dataset.figure, figure = JSON.parse(block.textContent);
    for (const key of ["xaxis", "yaxis"]) if (name !== "head") figure.layout[key] = figure.layout[key] || {};
    apply(figure.layout, colours(figure.layout, dark.matches));
    plots[name] = document.getElementById(name);
    stacked(plots[name], figure.layout);
    const room = plots[name].clientWidth / plots[name].clientHeight;
    if (name === "head" && room < 1) // a narrow window: step back until the coil fits
      for (const axis of "xyz") figure.layout.scene.camera.eye[axis] /= Math.max(room, 0.5);
    // As many pixels as the screen has, up to plotly's own 2, which on a common screen are four times as many.
    figure.config.plotGlPixelRatio = Math.min(Math.max(window.devicePixelRatio, 1), 2);
    await Plotly.newPlot(plots[name], figure.data, figure.layout, figure.config);
    if (name === "head") // when the pointer comes: doing it at once would draw the head twice; a layer shown again is new
      plots[name].addEventListener("pointerenter", () => seeThrough(plots[name]));
    performance.mark(name);
  }

  // What tells nothing (scalp, casing) must not hide from the pointer what lies behind it. Plotly has no setting
  // for that, so this reaches inside; where a version of plotly differs, the pointer stops at the scalp.
  function seeThrough(plot) {
    const scene = plot._fullLayout?.scene?._scene;
    for (const { data, mesh } of Object.values(scene?.traces || {}))
      if (data?.hoverinfo === "skip" && mesh?.pickSlots && scene.glplot?.remove) {
        mesh.pickSlots = 0;
        mesh.pick = () => null;
        scene.glplot.remove(mesh);
        scene.glplot.add(mesh);
      }
  }

  async function recolour(isDark) {
    for (const plot of Object.values(plots)) await Plotly.relayout(plot, colours(plot.layout, isDark));
  }

  const EYES = { left: [-1.6, 0, 0.2], right: [1.6, 0, 0.2], front: [0, 1.6, 0.2], top: [0, -0.01, 1.7] };

  function look(name, home) {
    const [x, y, z] = EYES[name] || [home.x, home.y, home.z];
    Plotly.relayout(plots.head, { "scene.camera.eye": { x, y, z }, "scene.camera.center": { x: 0, y: 0, z: 0 } });
  }

  // The target's note is no trace: it lies above the canvas, and goes with its layer.
  function toggle(box) {
    const note = box.dataset.layer === "target" ? { "scene.annotations[0].visible": box.checked } : {};
    Plotly.update(plots.head, { visible: box.checked }, note, box.dataset.traces.split(",").map(Number));
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch (error) { // a browser that keeps the clipboard from local files: select the text instead
      window.getSelection().selectAllChildren(source);
      button.textContent = "Selected: Ctrl-C";
      return;
    }
    button.textContent = "Copied";
    window.setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  async function picture() {
    const figure = { data: plots.head.data, layout: structuredClone(plots.head.layout) };
    apply(figure.layout, colours(figure.layout, false));
    const size = { format: "png", width: 1000, height: 640 };
    document.getElementById("head-print").src = await Plotly.toImage(figure, size);
  }

  async function start() {
    const blocks = [...document.querySelectorAll("script[data-figure]")];
    blocks.sort((a, b) => (b.dataset.figure === "head") - (a.dataset.figure === "head"));
    for (const block of blocks) { // the text is painted first, then the head, then the charts
      await new Promise((painted) => window.setTimeout(painted));
      await draw(block);
    }
    if (plots.head) {
      const home = Object.assign({}, plots.head.layout.scene.camera.eye);
      for (const box of document.querySelectorAll("input[data-traces]"))
        box.addEventListener("change", () => toggle(box));
      for (const button of document.querySelectorAll("button[data-view]"))
        button.addEventListener("click", () => look(button.dataset.view, home));
    }
    for (const button of document.querySelectorAll("button[data-copy]"))
      button.addEventListener("click", () => copy(button));
    dark.addEventListener("change", () => recolour(dark.matches));
    window.addEventListener("beforeprint", () => recolour(false));
    window.addEventListener("afterprint", () => recolour(dark.matches));
    document.documentElement.dataset.drawn = "yes";
    if (plots.head) // what is printed is a picture: canvases come out empty in some browsers
      window.setTimeout(picture, 1000);
  }

  performance.mark("scripts");
  start();
})();
