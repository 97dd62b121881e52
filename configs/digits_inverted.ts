// Domain transfer from the first half of the handwritten digits to inverted digits of the other half: every pixel has to change.
import type { ConfigFile } from 'rectiflow/run';

export default {
  base: 'digits_bold',
  data: { change: 'inverted' },
  // Likeness by pixels finds the wrong neighbours where every pixel changes.
  training: { neighbours: 0 },
} satisfies ConfigFile;
