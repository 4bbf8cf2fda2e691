// The skeleton of the page.

const choice = (name, label, title = "") => `<label title="${title}">${label}<select name="${name}"></select></label>`;
const slide = (name, label, most) =>
  `<label>${label} <output for="${name}"></output><input type="range" name="${name}" min="0" max="${most}" aria-label="${label}"></label>`;
const numeric = (
  name,
  label,
  steps,
) => `<label>${label}<input name="${name}" list="${name}-steps" inputmode="decimal" autocomplete="off"></label>
  <datalist id="${name}-steps">${steps.map((value) => `<option value="${value}"></option>`).join("")}</datalist>`;

export const TEMPLATE = `
<header>
  <h1>See a net learn</h1>
  <div class="transport" role="toolbar" aria-label="Training">
    <button data-act="restart" title="restart (r)" aria-label="restart">↺</button>
    <button data-act="back" title="one step back (←)" aria-label="one step back">◀</button>
    <button data-act="play" class="main" title="play or pause (space)">▶ Play</button>
    <button data-act="step" title="one step forward (→)" aria-label="one step forward">▶|</button>
    <label>Speed <select name="speed">
      <option value="1">1 step a second</option><option value="10">10 a second</option><option value="60">60 a second</option>
      <option value="600" selected>600 a second</option><option value="4000">4,000 a second</option><option value="0">fastest</option>
    </select></label>
  </div>
  <dl class="metrics">
    <div><dt>Step</dt><dd data-show="step">0</dd></div>
    <div><dt>Training loss</dt><dd data-show="train_loss"></dd></div>
    <div><dt>Test loss</dt><dd data-show="test_loss"></dd></div>
    <div><dt>Right in test</dt><dd data-show="test_accuracy"></dd></div>
  </dl>
  <div class="tools">
    <button data-act="share" title="copy a link to this net">Copy link</button>
    <button data-act="theme" title="light or dark (t)" aria-label="light or dark">◐</button>
    <button data-act="help" title="keys (?)" aria-label="keys">?</button>
  </div>
</header>
<p class="message" role="alert" hidden></p>
<main>
  <form class="controls" aria-label="Settings">
    <fieldset><legend>Data</legend>
      ${choice("data", "Points")}
      ${slide("noise", "Noise", 50)}
      ${slide("test", "Kept for the test, %", 90)}
      <label>Classes <select name="classes"><option>2</option><option>3</option><option>4</option><option>5</option></select></label>
      <div class="inputs" role="group" aria-label="What the net is given"></div>
    </fieldset>
    <fieldset><legend>Net</legend>
      ${choice("activation", "Activation")}
      ${choice("loss", "Loss")}
    </fieldset>
    <fieldset><legend>Learning</legend>
      ${choice("optimizer", "Optimizer")}
      ${numeric("rate", "Rate", [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1])}
      ${choice("batch", "Batch")}
      ${choice("penalty", "Penalty R(w)")}
      ${numeric("strength", "λ", [0, 0.001, 0.01, 0.1])}
      <label>Seed <span class="joined"><input name="seed" inputmode="numeric" autocomplete="off"><button type="button" data-act="reseed" title="another seed" aria-label="another seed">⚂</button></span></label>
    </fieldset>
  </form>
  <section class="middle" aria-label="The net">
    <div class="layers" role="toolbar" aria-label="Layers and units"></div>
    <canvas class="net" role="img" aria-label="The net: values above, gradients below. All numbers are in the table below."></canvas>
    <p class="told faint">Above each line its value, <i class="gradient">below it the gradient</i> of the loss of the ringed point. <b class="plus">Orange</b> wires: the loss grows with the weight; <b class="minus">blue</b>: it falls.</p>
    <p class="marks" role="status"></p>
    <div class="row" role="toolbar" aria-label="Questions about the gradient">
      <button data-act="backward" title="(b)">Backward, slowly</button>
      <button data-act="check" title="(g)">Check the gradient</button>
      <button data-act="landscape" title="(l)">Loss landscape</button>
      <label>Compare <select name="compare"><option value="">nothing</option><option value="hidden">3, 6, 20 hidden units</option>
        <option value="strength">λ = 0.001, 0.01, 0.1</option><option value="kept">with this net as it is</option></select></label>
    </div>
    <section class="slow panel" aria-label="One backward pass" hidden></section>
    <section class="check panel" aria-label="Gradient check" hidden></section>
    <section class="landscape panel" aria-label="Loss landscape" hidden></section>
    <section class="strip" aria-label="Nets side by side" hidden></section>
    <div class="pair">
      <div><h2>The plane as a layer sees it</h2>
        <div class="row warp"><label>Layer <select name="layer"></select></label><label>across <select name="across"></select></label><label>up <select name="up"></select></label></div>
        <canvas class="warped" role="img" aria-label="The grid of the plane, warped by two units of a layer"></canvas></div>
      <div><h2>Size of the gradient, by layer</h2><canvas class="norms chart" role="img" aria-label="Norm of each layer's gradient by step"></canvas></div>
    </div>
    <details class="numbers"><summary>All numbers of this example</summary><div></div></details>
  </section>
  <section class="right" aria-label="Data and curves">
    <div class="row classes" role="radiogroup" aria-label="Class of new points"></div>
    <canvas class="plane" tabindex="0" role="application"
      aria-label="The points and the net's decision. Arrow keys move a cursor; Enter adds a point or chooses the one there; Delete removes it."></canvas>
    <div class="row"><button data-act="undo" title="undo (Ctrl Z)">Undo</button><button data-act="clear">Remove all</button>
      <span class="faint">Click adds, drag moves, right click or long press removes.</span></div>
    <h2>Loss</h2><canvas class="losses chart" role="img" aria-label="Loss by step"></canvas>
    <h2>Accuracy</h2><canvas class="accuracies chart" role="img" aria-label="Accuracy by step"></canvas>
  </section>
</main>
<dialog class="help" aria-label="Keys">
  <h2>Keys</h2>
  <dl><dt>space</dt><dd>play, pause</dd><dt>→ ←</dt><dd>one step forward, back</dd><dt>r</dt><dd>restart</dd><dt>b</dt><dd>one backward pass, slowly</dd>
    <dt>g</dt><dd>check the gradient</dd><dt>l</dt><dd>loss landscape</dd><dt>1 … 5</dt><dd>class of new points</dd><dt>[ ]</dt><dd>the example before, after</dd><dt>Ctrl Z</dt><dd>undo a change of points</dd>
    <dt>t</dt><dd>light or dark</dd></dl>
  <p>On the plane (Tab goes there): arrows move a cursor, Shift far; Enter adds a point or chooses the one there; Delete removes it.</p>
  <p>A unit’s little picture is its value over the plane: blue below 0, orange above. <b>Dead</b>: its slope is 0 at every training point. <b>Saturated</b>: nearly flat at 95 % of them. <b>Exploding</b>: its value or gradient is above 1000.</p>
  <form method="dialog"><button>Close</button></form>
</dialog>`;
