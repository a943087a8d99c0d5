// Run by Bokeh's CustomJS with: samples, bars, truth, dots (one source a mark), classes, tau, shown, places, span, card,
// readout; after temperature_at. Probabilities are softmax(logits / tau), in float64.
const row = samples.selected.indices[0] ?? 0
const logits = samples.data.logits[row]
if (logits == null) return
const names = samples.data.names[row]
const count = classes.length
const empty = {place: [], p: [], logit: []}
const temperature = temperature_at(tau.value)
const label = samples.data.label[row]
const safe = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)

// The card stands even where there are no logits to show.
const picture = samples.data.picture[row]
const seen = picture === "" ? "" : `<img alt="sample ${samples.data.sample[row]}" src="${safe(picture)}">`
const said = label < 0 ? "label unknown" : `labelled <b>${safe(classes[label])}</b>`
const remark = samples.data.remark[row] === "" ? "" : `<br><span>${safe(samples.data.remark[row])}</span>`
const tell = (more) => {
  const name = samples.data.sample[row] < 0 ? "" : `Sample ${samples.data.sample[row]}, ${said}${more}`
  card.text = `<div class="card">${seen}<p>${name}${remark}</p></div>`
}
if (logits.length === 0) {
  for (const source of [bars, truth, ...dots]) source.data = empty
  readout.text = ""
  tell("")
  return
}

const softmax = (z) => {
  const top = z.reduce((a, b) => Math.max(a, b), -Infinity)
  const e = Float64Array.from(z, (value) => Math.exp((value - top) / temperature))
  const sum = e.reduce((a, b) => a + b, 0)
  return e.map((value) => value / sum)
}
const largest = (p) => p.reduce((best, value, k) => (value > p[best] ? k : best), 0)
const entropy = (p) => -p.reduce((sum, value) => sum + (value > 0 ? value * Math.log(value) : 0), 0)
const kl = (p, q) => p.reduce((sum, value, k) => sum + (value > 0 ? value * Math.log(value / Math.max(q[k], 1e-300)) : 0), 0)
const digits = (value) => (value !== 0 && value < 0.001 ? value.toExponential(1) : value.toFixed(3))

const all = Float64Array.from(logits)
const each = names.map((_, m) => all.slice(m * count, (m + 1) * count))
const p = each.map(softmax)

// All classes where there are few; else the first network's largest, the label and each network's first choice.
let order = [...classes.keys()]
if (count > shown) {
  order.sort((a, b) => each[0][b] - each[0][a] || a - b)
  const wanted = [label, ...p.map(largest)].filter((k) => k >= 0)
  order = [...new Set([...order.slice(0, shown - 1), ...wanted])]
}
const rest = count > order.length
const factors = [...order.map((k) => classes[k]), ...(rest ? ["all others"] : [])]
const values = (q) => {
  const found = order.map((k) => q[k])
  return rest ? [...found, Math.max(0, 1 - found.reduce((a, b) => a + b, 0))] : found
}
const shades = (z) => [...order.map((k) => z[k].toFixed(2)), ...(rest ? [""] : [])]

places.factors = [...factors].reverse()
bars.data = {place: factors, p: values(p[0]), logit: shades(each[0])}
truth.data = label < 0 ? empty : {place: [classes[label]], p: [1], logit: [""]}
dots.forEach((source, m) => {
  source.data = m + 1 < names.length ? {place: factors, p: values(p[m + 1]), logit: shades(each[m + 1])} : empty
})
const highest = Math.max(...bars.data.p, ...dots.flatMap((source) => source.data.p))
const end = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((step) => highest <= step / 1.02) ?? 1.02
span.setv({start: -0.012 * end, end})  // room for the marks at 0

tell(`; ${safe(names[0])} says <b>${safe(classes[largest(p[0])])}</b>`)

const lines = names.map((name, m) => {
  const first = largest(p[m])
  const right = label < 0 ? "" : first === label ? " ✓" : " ✗"
  const cells = [safe(classes[first]) + right, digits(p[m][first]), digits(entropy(p[m])), m === 0 ? "–" : digits(kl(p[0], p[m]))]
  return `<tr><th scope="row">${safe(name)}</th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`
})
readout.text = `<table><thead><tr><th>at τ = ${Number(temperature.toPrecision(3))}</th><th>first choice</th><th>its probability</th>` +
  `<th>entropy, nats</th><th>KL from ${safe(names[0])}, nats</th></tr></thead><tbody>${lines.join("")}</tbody></table>`
