// Domain transfer from the first half of the handwritten digits to digits of the other half that are turned by 90 degrees.
import type { ConfigFile } from 'rectiflow/run';

export default {
  base: 'digits_bold',
  data: { change: 'rotated' },
  // Likeness by pixels finds the wrong neighbours where pixels change their places.
  training: { neighbours: 0 },
} satisfies ConfigFile;
