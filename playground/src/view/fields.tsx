// Controls that several panels have: a slider with its value, a choice among names, and the panel itself.
import type { ComponentChildren } from 'preact';

interface SliderProps {
  label: string;
  value: number;
  range: { least: number; most: number };
  step?: number;
  /** The slider moves in powers. */
  log?: boolean;
  text?: string;
  onChange: (value: number) => void;
}

/** A slider with its value; with `log`, equal ways multiply. */
export function Slider({ label, value, range: { least, most }, step = 1, log, text, onChange }: SliderProps) {
  const there = (v: number) => (log ? Math.log(v) : v);
  const back = (v: number) => (log ? Math.exp(v) : v);
  const rounded = (v: number) => Math.min(most, Math.max(least, step >= 1 ? Math.round(v) : Number(v.toPrecision(3))));
  return (
    <label class="slider">
      <span>{label}</span>
      <output class="number">{text ?? value}</output>
      <input
        type="range"
        min={there(least)}
        max={there(most)}
        step={log ? (there(most) - there(least)) / 200 : step}
        value={there(value)}
        aria-valuetext={text ?? String(value)}
        onInput={(event) => onChange(rounded(back(Number(event.currentTarget.value))))}
      />
    </label>
  );
}

export function Choice<Name extends string>({
  label,
  value,
  of,
  onChange,
}: {
  label: string;
  value: Name;
  of: Record<Name, string>;
  onChange: (value: Name) => void;
}) {
  return (
    <label class="choice">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value as Name)}>
        {Object.entries<string>(of).map(([key, text]) => (
          <option value={key}>{text}</option>
        ))}
      </select>
    </label>
  );
}

export function Panel({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <section class="panel" aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}
