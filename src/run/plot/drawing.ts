// A drawing: flat shapes in a coordinate system whose origin is the top left corner. Plots are functions from data to a
// drawing; svg.ts writes one as SVG, and another format needs only another such writer.

/** Marker shapes, which tell series apart without colour. */
export const markers = ['circle', 'square', 'triangle', 'diamond', 'cross', 'inverted triangle'] as const;
export type Marker = (typeof markers)[number];

export type Point = readonly [x: number, y: number];

export type Shape =
  | {
      kind: 'line';
      points: readonly Point[];
      color: string;
      width: number;
      /** Lengths of dashes and gaps; a solid line if absent. */
      dash?: readonly number[];
      /** From 0 to 1; default 1. */
      opacity?: number;
    }
  | {
      kind: 'marker';
      marker: Marker;
      at: Point;
      /** Distance from the centre to the edge. */
      radius: number;
      color: string;
      /** Fill: `color`, or the background for a hollow marker. */
      fill: string;
      /** Text that a viewer shows when the pointer rests on the marker. */
      hint?: string;
    }
  /** Many equal circles. */
  | { kind: 'dots'; points: readonly Point[]; radius: number; fill: string; stroke?: string; opacity?: number }
  | {
      kind: 'text';
      text: string;
      /** End of the baseline that `anchor` names, or its middle. */
      at: Point;
      anchor: 'start' | 'middle' | 'end';
      size: number;
      color: string;
      bold?: boolean;
    }
  | { kind: 'image'; png: Uint8Array; at: Point; width: number; height: number; description: string };

export interface Drawing {
  width: number;
  height: number;
  /** What the drawing shows, in words, for readers who do not see it. */
  description: string;
  font: string;
  background?: string;
  shapes: readonly Shape[];
}
