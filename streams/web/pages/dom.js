// Helpers for elements and for numbers as text. Values are shown as text, never as markup, whatever is in them.

/** The element with an id of dashboard.html. */
export const byId = (id) => document.getElementById(id);

/** A new element with attributes and children, which are elements or texts. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Set an element's text. An equal one is left alone, so that a screen reader does not repeat it. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const integers = new Intl.NumberFormat("en");
const amounts = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** 1234 -> "1,234". */
export const integer = (value) => integers.format(value);
/** 1234.5 -> "1,234.50". */
export const money = (value) => amounts.format(value);
/** A share in percent; "–" if there is nothing to have a share of. */
export const percent = (count, all) => (all ? `${Math.round((100 * count) / all)} %` : "–");

/** Seconds -> "4.8 s", "3:07" or "1:02:09". */
export function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds * 10) / 10} s`;
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds % 60)];
  const two = (value) => String(value).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}
