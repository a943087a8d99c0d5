// Shows every figure of the page, in the colours that the reader's page has.
(() => {
  const swap = COLOURS_OF_DARK;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let shown = [];
  let queue = Promise.resolve();
  async function show() {
    document.documentElement.dataset.figures = "coming";
    for (const views of shown) views.clear();
    shown = [];
    Bokeh.documents.length = 0;
    for (const data of document.querySelectorAll("script.chart-data")) {
      let text = data.textContent;
      if (dark.matches) text = text.replace(/"(#[0-9a-f]{6})"/g, (all, found) => (found in swap ? `"${swap[found]}"` : all));
      const target = document.getElementById(data.dataset.for);
      target.replaceChildren();
      shown.push(await Bokeh.embed.embed_item(JSON.parse(text), target));
    }
    document.documentElement.dataset.figures = "shown";
  }
  dark.addEventListener("change", () => { queue = queue.then(show); });
  queue = show();
})();
