// Icons as paths of a 16 x 16 square.
const shapes = {
  play: 'M4 2.5 13 8 4 13.5z',
  pause: 'M4 3h3v10H4zM9 3h3v10H9z',
  step: 'M3 3l6 5-6 5zM10.5 3h2v10h-2z',
  reset: 'M8 3a5 5 0 1 1-4.6 3l1.4.6A3.5 3.5 0 1 0 8 4.5V7L4.5 3.8 8 .8z',
  brush:
    'M13.5 1.5 15 3 8 10.5 5.8 8.3zM5 9l2.2 2.2c-.4 2.3-2.4 3.3-6 3 1.600-.9 1.500-1.600 1.700-2.900C3 10 3.900 9.100 5 9z',
  eraser:
    'M9.500 2 14 6.500 7.500 13H14v1.500H4.500L1.700 11.700c-.5-.5-.5-1.200 0-1.700zM3 10.900 5.200 13h.7l1.500-1.500L4.500 8.900z',
  swap: 'M5 2 1 5l4 3V6h9V4H5zM11 8v2H2v2h9v2l4-3z',
  share: 'M10 2h4v4h-1.500V4.600L8 9.100 6.900 8l4.500-4.500H10zM3 4h5v1.500H4.500v6h6V8H12v5H3z',
  download: 'M7.200 2h1.600v6l2.400-2.300L12.300 7 8 11 3.700 7l1.100-1.300L7.200 8zM3 12.500h10V14H3z',
  moon: 'M6 2a6 6 0 1 0 8 8 5 5 0 0 1-8-8z',
  flag: 'M3 1.500h1.500V2.500H13l-2 3.500 2 3.500H4.500v5H3z',
  trash: 'M6 2h4v1h4v1.500H2V3h4zM3.500 5.500h9L12 14H4z',
  close: 'M3.500 2.500 8 7l4.500-4.500 1 1L9 8l4.500 4.500-1 1L8 9l-4.500 4.500-1-1L7 8 2.500 3.500z',
  paste: 'M5 2h6v2H5zM3 3h1v2h8V3h1v11H3zM5 7v1.200h6V7zm0 2.500v1.200h6V9.500z',
} as const;

export function Icon({ name }: { name: keyof typeof shapes }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={shapes[name]} />
    </svg>
  );
}
