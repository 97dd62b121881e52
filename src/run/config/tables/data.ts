// The table `data`: the images that a flow is trained on and compared with.
import { z } from 'zod';
import { fixed, free, network, table, training } from '../keys.ts';
import { LARGEST_IMAGE, whole } from '../values.ts';

/** `encoded`: whether the images are JPEG, PNG or WebP files, which may have an EXIF orientation. */
export const dataSets = {
  CIFAR10: { encoded: false },
  LSUN: { encoded: true },
  'CelebA-HQ-Pytorch': { encoded: true },
  'AFHQ-CAT-Pytorch': { encoded: true },
  FOLDER: { encoded: true },
  MNIST: { encoded: false },
  DIGITS: { encoded: false },
  PROMPTS: { encoded: false },
} as const;
/** The names of the classes of data sets with labels, in their order. */
export const classNames: { readonly [Name in keyof typeof dataSets]?: readonly string[] } = {
  DIGITS: ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'],
  MNIST: ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'],
  CIFAR10: ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'],
};
const LONGEST_CAPTION = 1000;
type DataSetName = keyof typeof dataSets;

export const dataTable = table(
  'The images that a flow is trained on and compared with.',
  [...training, 'eval', 'stats', 'classifier', 'pairs', 'convert'],
  {
    dataset: fixed(
      z.enum(Object.keys(dataSets) as DataSetName[]),
      'The data set. DIGITS is in the package, CIFAR10 is downloaded if data.root_path is empty, FOLDER is any folder of images, PROMPTS a file of texts, for model.name stable_diffusion; FOLDER, MNIST, DIGITS and PROMPTS are not in the official code.',
    ),
    root_path: free(
      z.string(),
      'Folder of the files of the data set, or the file of PROMPTS, UTF-8 with a text in each line; empty if the set is in the package or is downloaded.',
      {
        also: ['report'],
      },
    ),
    category: fixed(z.string(), 'Category of LSUN: bedroom, church_outdoor and so on.', {
      needs: { key: 'data.dataset', words: 'LSUN', met: (dataset: string) => dataset === 'LSUN' },
    }),
    image_size: network(
      whole(1, LARGEST_IMAGE),
      'Height and width of the images. Image files are scaled and cropped to it; other data sets must have this size.',
      { unit: 'pixels', also: ['sample', 'serve', 'inspect'] },
    ),
    num_channels: network(whole(1, 1024), 'Channels of the images: 3 for colour, 1 for grey.', {
      unit: 'channels',
      also: ['sample', 'serve', 'inspect'],
    }),
    random_flip: fixed(z.boolean(), 'Whether training mirrors each image with probability 1/2.'),
    exif_orientation: fixed(
      z.boolean(),
      'Whether image files are rotated by their EXIF orientation, as viewers do; false reads them as PIL and torchvision do.',
      {
        ours: true,
        needs: {
          key: 'data.dataset',
          words: 'a data set of image files',
          met: (dataset: DataSetName) => dataSets[dataset].encoded,
        },
      },
    ),
    centered: network(z.boolean(), 'Range of the pixels that the network sees: true is [-1, 1], false is [0, 1].', {
      also: ['sample', 'serve'],
    }),
    caption: network(
      z.string().max(LONGEST_CAPTION),
      'Caption of an image, in which {class} stands for the name of its class. If empty, the flow takes no text.',
      {
        ours: true,
        needs: {
          key: 'model.name',
          words: 'unet2d_condition',
          met: (name: string, own) => own === '' || name === 'unet2d_condition',
        },
        also: ['sample', 'serve', 'inspect', 'report'],
      },
    ),
    uniform_dequantization: fixed(
      z.boolean(),
      'Whether training adds uniform noise below one grey level to each image, so that the data has a density.',
    ),
  },
);
