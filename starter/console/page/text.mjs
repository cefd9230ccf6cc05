// How figures are written: short, with their unit, and as wide as their neighbors.

const unknown = '–'
const known = value => value !== null && value !== undefined && Number.isFinite(value)

// count writes how many there are.
export const count = value => known(value) ? Math.round(value).toLocaleString('en-US') : unknown

// plural writes how many there are of what.
export const plural = (value, one, many = one + 's') => `${count(value)} ${value === 1 ? one : many}`

// rate writes records a second.
export function rate(value) {
  if (!known(value)) return unknown
  for (const [least, unit] of [[1e6, 'M'], [1e3, 'k']]) {
    if (value >= least * 0.9995) return `${(value / least).toPrecision(3)}${unit}/s`
  }
  return value > 0 && value < 10 ? `${value.toFixed(1)}/s` : `${Math.round(value)}/s`
}

// seconds writes a duration.
export function seconds(value) {
  if (!known(value)) return unknown
  if (value < 0.0005) return '0 ms'
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`
  if (value < 9.95) return `${value.toFixed(1)} s`
  if (value < 119.5) return `${Math.round(value)} s`
  const minutes = Math.round(value / 60)
  if (minutes < 120) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

// clock writes a moment: the time of day, and the day if it is another one. It is UTC, as in the logs.
export function clock(time, now) {
  const at = new Date(time).toISOString()
  const day = at.slice(0, 10)
  return (day === new Date(now).toISOString().slice(0, 10) ? '' : day + ' ') + at.slice(11, 16) + ' UTC'
}

// number is what operators call a shard.
export const number = shard => shard.replace(/^shardId-0*(?=\d)/, '')
