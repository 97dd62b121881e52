// The two canvases on which clouds are drawn: brush, eraser, presets, a list of points, a text or a picture.
import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { readPoints } from '../model/paste.ts';
import { erase, pointsOfImage, pointsOfText, stamp } from '../model/points.ts';
import { EXTENT, type Preset, presets, type Source } from '../model/settings.ts';
import * as store from '../model/store.ts';
import { changeProblem } from './actions.ts';
import { drawCursor, Square } from './canvas.tsx';
import { Icon } from './icons.tsx';

type Side = 'from' | 'to';

const names: Record<Side, { title: string; long: string }> = {
  from: { title: 'Source', long: 'the source' },
  to: { title: 'Target', long: 'the target' },
};

export function Clouds() {
  const swap = () => {
    const { from, to } = store.problem.value;
    changeProblem({ from: to, to: from });
  };
  return (
    <section class="clouds" aria-label="The two clouds">
      <Pad side="from" />
      <button type="button" class="round swap" onClick={swap} aria-label="Swap source and target" title="Swap">
        <Icon name="swap" />
      </button>
      <Pad side="to" />
    </section>
  );
}

function Pad({ side }: { side: Side }) {
  const tool = useSignal<'brush' | 'eraser'>('brush');
  /** Points while a stroke is drawn; the training begins anew when it ends. */
  const stroke = useSignal<Float32Array | undefined>(undefined);
  const cursor = useSignal<[number, number] | undefined>(undefined);
  const pasting = useSignal(false);
  const drawing = useRef(false);
  const source = store.problem.value[side];
  const { title, long } = names[side];

  const current = () => {
    const { [side]: now } = store.problem.peek();
    return 'points' in now ? now.points : (store.clouds.peek()?.[side] ?? new Float32Array(0));
  };
  const place = (event: PointerEvent): [number, number] => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const scale = (2 * EXTENT) / box.width;
    return [(event.clientX - box.left) * scale - EXTENT, EXTENT - (event.clientY - box.top) * scale];
  };
  const touch = ([x, y]: [number, number]) => {
    const points = stroke.peek() ?? current();
    stroke.value = tool.peek() === 'brush' ? stamp(points, x, y) : erase(points, x, y);
  };
  const end = () => {
    drawing.current = false;
    const points = stroke.peek();
    stroke.value = undefined;
    if (!points) return;
    if (points.length < 4) return store.say('A cloud needs at least two points.');
    changeProblem({ [side]: { points } });
  };
  const onKey = (event: KeyboardEvent) => {
    const step = event.shiftKey ? 3 : 0.75;
    const moves: Record<string, [number, number]> = {
      ...{ ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] },
    };
    const [x, y] = cursor.peek() ?? [0, 0];
    const move = moves[event.key];
    if (move) {
      event.preventDefault();
      cursor.value = [x, y].map((value, i) => Math.max(-EXTENT, Math.min(EXTENT, value + move[i]))) as [number, number];
    } else if (event.key === ' ' || event.key === 'Enter') {
      event.preventDefault();
      cursor.value = [x, y];
      touch([x, y]);
      end();
    }
  };
  const choose = (value: string) => {
    if (value in presets) changeProblem({ [side]: { preset: value as Preset } });
  };

  return (
    <div class={`pad ${side}`}>
      <div class="padhead">
        <h2>{title}</h2>
        <select
          value={'preset' in source ? source.preset : 'own'}
          onChange={(event) => choose(event.currentTarget.value)}
          aria-label={`Shape of ${long}`}
        >
          {'points' in source && <option value="own">Your points</option>}
          {Object.entries(presets).map(([key, text]) => (
            <option value={key}>{text}</option>
          ))}
        </select>
      </div>
      <div
        class="paper"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a drawing area that keys move in needs the focus.
        tabIndex={0}
        role="application"
        aria-label={`Canvas of ${long}. Draw with a pointer, or move with the arrow keys and press the space bar`}
        onPointerDown={(event) => {
          if (event.button !== 0) return;
          drawing.current = true;
          event.currentTarget.setPointerCapture(event.pointerId);
          touch(place(event));
        }}
        onPointerMove={(event) => drawing.current && touch(place(event))}
        onPointerUp={end}
        onPointerCancel={end}
        onKeyDown={onKey}
        onBlur={() => {
          cursor.value = undefined;
        }}
      >
        <Square
          label={`Points of ${long}`}
          scene={() => {
            const points =
              stroke.value ??
              ('points' in store.problem.value[side]
                ? (store.problem.value[side] as { points: Float32Array }).points
                : store.clouds.value?.[side]);
            const none = new Float32Array(0);
            const shown = points ?? none;
            cursor.value;
            const clouds = { from: none, to: none, partners: none, [side]: shown };
            const show = {
              paths: false,
              arrows: false,
              target: true,
              field: false,
              density: false,
              pairs: false,
              time: 1,
            };
            return { clouds, show };
          }}
          over={(context, size, inks) => drawCursor(context, size, inks, cursor.peek())}
        />
      </div>
      <div class="tools">
        {(['brush', 'eraser'] as const).map((name) => (
          <button
            type="button"
            class="tool"
            aria-pressed={tool.value === name}
            onClick={() => {
              tool.value = name;
            }}
            aria-label={name === 'brush' ? `Brush for ${long}` : `Eraser for ${long}`}
          >
            <Icon name={name} />
          </button>
        ))}
        <button
          type="button"
          class="tool"
          aria-label={`Paste points, write a text or open a picture for ${long}`}
          aria-expanded={pasting.value}
          onClick={() => {
            pasting.value = !pasting.value;
          }}
        >
          <Icon name="paste" />
        </button>
        <span class="count">{count(source)}</span>
      </div>
      {pasting.value && (
        <Paste
          side={side}
          close={() => {
            pasting.value = false;
          }}
        />
      )}
    </div>
  );
}

/** Letters of a pasted list that is used at once: a browser lays out the lines of a long text for seconds. */
const LONG = 50_000;

const count = (source: Source) =>
  'points' in source ? `${(source.points.length / 2).toLocaleString('en')} points` : '';

/** A list of points, a text, or a picture. */
function Paste({ side, close }: { side: Side; close: () => void }) {
  /** The text stays in the element: a long list is not rendered again. */
  const area = useRef<HTMLTextAreaElement>(null);
  const textOf = () => area.current?.value ?? '';
  const fault = useSignal('');
  const take = async (
    read: () => Promise<{ points: Float32Array; note?: string }> | { points: Float32Array; note?: string },
  ) => {
    try {
      const { points, note } = await read();
      if (note) store.say(note);
      changeProblem({ [side]: { points } });
      close();
    } catch (error) {
      fault.value = (error as Error).message;
    }
  };
  return (
    <div class="paste">
      <label>
        Points, one in a line, or a word
        <textarea
          ref={area}
          rows={4}
          placeholder={'1.5, -2\n0.3, 4'}
          spellcheck={false}
          onPaste={(event) => {
            const text = event.clipboardData?.getData('text') ?? '';
            if (text.length < LONG) return;
            event.preventDefault();
            take(() => readPoints(text));
          }}
        />
      </label>
      <div class="row">
        <button type="button" onClick={() => take(() => readPoints(textOf()))}>
          Use points
        </button>
        <button
          type="button"
          onClick={() =>
            take(() => {
              const points = pointsOfText(textOf().trim());
              if (points.length === 0) throw new Error('Write a word of up to 12 letters.');
              return { points };
            })
          }
        >
          Use word
        </button>
        <label class="file">
          Picture
          <input
            type="file"
            accept="image/*"
            onChange={(event) => {
              const [file] = event.currentTarget.files ?? [];
              if (file) take(async () => ({ points: await pointsOfImage(file) }));
            }}
          />
        </label>
      </div>
      {fault.value && (
        <p class="fault" role="alert">
          {fault.value}
        </p>
      )}
    </div>
  );
}
