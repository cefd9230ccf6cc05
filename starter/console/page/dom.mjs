// A page as a function of the state: h describes elements, and patch makes a part of the
// document like that, changing only what differs, so that focus and selection stay. Text is
// always a text node: nothing that a tenant wrote is ever markup.

const SVG = 'http://www.w3.org/2000/svg'
const drawn = new Set(['svg', 'g', 'path', 'rect', 'text', 'tspan', 'line', 'circle', 'title', 'polyline', 'polygon', 'desc'])

// h describes an element. Children that are null or false are left out. An element with
// another key is another one.
export const h = (tag, attributes, ...children) => ({
  tag, attributes: attributes ?? {}, children: children.flat(9).filter(child => child !== null && child !== undefined && child !== false && child !== ''),
})

// patch makes the children of an element like these. One with a key stays what it is when others come or go before it.
export function patch(parent, children) {
  const keyOf = child => child.attributes?.key
  children.forEach((child, at) => {
    const key = keyOf(child)
    const kept = key && [...parent.childNodes].slice(at).find(node => node.key === key)
    while (kept && parent.childNodes[at] !== kept) parent.childNodes[at].remove()
    const old = parent.childNodes[at]
    const later = !kept && old?.key && children.slice(at + 1).some(other => keyOf(other) === old.key)
    const now = update(later ? null : old, child)
    if (!old) parent.append(now)
    else if (later) parent.insertBefore(now, old)
    else if (now !== old) parent.replaceChild(now, old)
  })
  while (parent.childNodes.length > children.length) parent.lastChild.remove()
}

function update(old, child) {
  if (typeof child !== 'object') {
    const text = String(child)
    if (old?.nodeType !== Node.TEXT_NODE) return document.createTextNode(text)
    if (old.data !== text) old.data = text
    return old
  }
  const { key = '', ...attributes } = child.attributes
  const same = old?.nodeType === Node.ELEMENT_NODE && old.localName === child.tag && old.key === key
  const element = same ? old : drawn.has(child.tag) ? document.createElementNS(SVG, child.tag) : document.createElement(child.tag)
  element.key = key
  for (const name of Object.keys(element.set ?? {})) { // others, such as open, are the reader's
    if (attributes[name] === undefined || attributes[name] === null || attributes[name] === false) element.removeAttribute(name)
  }
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false && element.getAttribute(name) !== String(value)) element.setAttribute(name, value)
  }
  element.set = attributes
  patch(element, child.children)
  return element
}
