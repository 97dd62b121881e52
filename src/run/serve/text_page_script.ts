// The script of the page of pictures. Texts enter the page as text, never as markup.
export const script = `
'use strict';
const byId = (id) => document.getElementById(id);
const form = byId('form');
const fields = form.elements;
const refusal = byId('refusal');
const make = form.querySelector('button.main');
const active = new Set();

async function ask(method, path, body) {
  const options = body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const answer = await fetch(path, { method, ...options });
  const value = await answer.json();
  if (!answer.ok && !value.status) throw new Error(value.error);
  return value;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function waitForModel() {
  for (;;) {
    const state = await ask('GET', '/healthz').catch(() => ({ status: 'gone' }));
    if (state.status === 'ok') {
      const million = Math.round(state.parameters / 1e6).toLocaleString('en');
      byId('model').textContent = state.model + ', ' + million + ' million parameters, on ' + state.device;
      for (const name of ['height', 'width']) {
        fields[name].step = fields[name].min = state.multiple;
        fields[name].value = state.size;
      }
      make.disabled = false;
      return;
    }
    byId('model').textContent =
      state.status === 'loading' ? 'The model is loading: ' + Math.round(100 * state.loaded) + ' %' : 'The server does not answer.';
    await pause(500);
  }
}

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function showNegative() {
  byId('negative').hidden = !(Number(fields.guidance.value) > 1);
}

function request() {
  const body = { prompt: fields.prompt.value.trim(), size: [Number(fields.height.value), Number(fields.width.value)] };
  for (const name of ['steps', 'guidance', 'seed', 'count']) body[name] = Number(fields[name].value);
  if (body.guidance > 1) body.negative = fields.negative.value.trim();
  return body;
}

function refuse(error) {
  refusal.textContent = error.message;
  refusal.hidden = false;
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  refusal.hidden = true;
  if (fields.fresh.checked) fields.seed.value = crypto.getRandomValues(new Uint32Array(1))[0];
  try {
    const asked = request();
    follow(await ask('POST', '/text', asked), asked);
  } catch (error) {
    refuse(error);
  }
});
fields.guidance.addEventListener('input', showNegative);
fields.seed.addEventListener('input', () => { fields.fresh.checked = false; });
fields.prompt.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});

function stageOf({ state, before, stage, picture, pictures, done, order }) {
  if (state === 'waiting') return before === 1 ? 'Waits for one other order' : 'Waits for ' + before + ' other orders';
  const which = pictures === 1 ? '' : 'Picture ' + picture + ' of ' + pictures + ': ';
  if (stage === undefined) return which + 'Reads the text';
  const finished = stage === 'text' ? 0 : stage === 'network' ? Math.round(done * order.steps) : order.steps;
  return which + (finished < order.steps ? 'Step ' + (finished + 1) + ' of ' + order.steps : 'Decodes the picture');
}

function follow(job, asked) {
  const { order } = job;
  const status = element('p', { className: 'small muted', textContent: stageOf(job) });
  status.setAttribute('role', 'status');
  const bar = element('progress', { max: 1, value: 0 });
  bar.setAttribute('aria-label', 'Progress');
  const pictures = element('div', { className: 'pictures', hidden: true });
  const cancel = element('button', { type: 'button', textContent: 'Cancel' });
  const again = element('button', { type: 'button', textContent: 'Use again' });
  const remove = element('button', { type: 'button', textContent: 'Remove', hidden: true });
  const facts = ['seed ' + order.seed, order.steps + (order.steps === 1 ? ' step' : ' steps'), order.size.join(' x ')];
  if (order.guidance > 1) facts.push('guidance ' + order.guidance + (order.negative ? ', not: ' + order.negative : ''));
  const saves = element('span', { className: 'buttons' });
  const card = element('article', {}, element('h2', { textContent: order.prompts.join(' / ') }),
    element('p', { className: 'small muted', textContent: facts.join(', ') }), status, bar, pictures,
    element('div', { className: 'buttons' }, saves, cancel, again, remove));
  byId('jobs').prepend(card);
  again.addEventListener('click', () => {
    for (const name of ['prompt', 'steps', 'guidance', 'seed', 'count']) fields[name].value = asked[name];
    [fields.height.value, fields.width.value] = asked.size;
    fields.negative.value = asked.negative ?? '';
    fields.fresh.checked = false;
    showNegative();
    fields.prompt.focus();
    form.scrollIntoView({ block: 'nearest' });
  });
  cancel.addEventListener('click', () => {
    cancel.disabled = true;
    ask('DELETE', '/jobs/' + job.id).catch(refuse);
  });
  remove.addEventListener('click', () => {
    card.remove();
    ask('DELETE', '/jobs/' + job.id).catch(() => {});
  });
  watch(job.id, { status, bar, pictures, saves, cancel, remove, order });
}

async function watch(id, { status, bar, pictures, saves, cancel, remove, order }) {
  active.add(id);
  let job;
  do {
    await pause(job ? 250 : 50);
    job = await ask('GET', '/jobs/' + id).catch((error) => ({ state: 'failed', error: error.message, notes: [], files: [], share: 0 }));
    if (job.state === 'running' || job.state === 'waiting') {
      status.textContent = stageOf(job) + (job.seconds === undefined ? '' : ', ' + job.seconds.toFixed(0) + ' s');
      bar.value = job.share;
    }
  } while (job.state === 'running' || job.state === 'waiting');
  active.delete(id);
  bar.hidden = cancel.hidden = true;
  remove.hidden = false;
  const ends = { failed: 'Failed: ' + job.error, cancelled: 'Cancelled', done: 'Made in ' + (job.seconds ?? 0).toFixed(1) + ' s' };
  status.textContent = [ends[job.state], ...job.notes].join('. ');
  if (job.state === 'failed') status.className = 'error';
  for (const [i, file] of job.files.entries()) {
    const alt = order.prompts[Math.floor(i / order.count)];
    const image = element('img', { src: file, alt, width: order.size[1], height: order.size[0] });
    const name = alt.replace(/[^\\p{L}\\p{N}]+/gu, '_').slice(0, 40) + '_' + order.seed + (job.files.length > 1 ? '_' + i : '') + '.png';
    pictures.append(element('a', { href: file, target: '_blank', title: 'Open this picture' }, image));
    const label = job.files.length > 1 ? 'Save ' + (i + 1) : 'Save';
    saves.append(element('a', { className: 'button', href: file, download: name, textContent: label }));
  }
  pictures.classList.toggle('one', job.files.length === 1);
  pictures.hidden = job.files.length === 0;
}

// Nobody waits for the pictures of a page that is closed.
addEventListener('pagehide', () => {
  for (const id of active) fetch('/jobs/' + id, { method: 'DELETE', keepalive: true });
});
showNegative();
waitForModel();
`;
