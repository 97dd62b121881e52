// What a page looks like, measured in the browser, which evaluates this file: a function without arguments.
//   width        of the page's contents; wider than the window, it scrolls sideways
//   small        texts smaller than 13 pixels
//   faint        texts whose contrast with their background is less than 4.5
//   overlapping  labels of plots that overlap each other, or reach out of their plot
//   uneven       pictures that are not enlarged by a whole number, or have no alternative text
//   empty        sections with a heading alone
() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    if (!canvas) throw new Error('no canvas');
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => {
    const mix = (i) => top[i] * top[3] + under[i] * (1 - top[3]);
    return [mix(0), mix(1), mix(2), 1];
  };
  const background = (element) =>
    element === null
      ? [255, 255, 255, 1]
      : over(rgba(getComputedStyle(element).backgroundColor), background(element.parentElement));
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((value) => {
      const c = value / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const result = {
    width: document.documentElement.scrollWidth,
    small: [],
    faint: [],
    overlapping: [],
    uneven: [],
    empty: [],
  };

  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent?.trim().slice(0, 40);
    const element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest('script, style, svg title')) continue;
    const style = getComputedStyle(element);
    const svg = element.closest('svg');
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    if (Number.parseFloat(style.fontSize) * scale < 12.99) result.small.push(`${text}: ${style.fontSize} x ${scale}`);
    const behind = background(element);
    const front = over(rgba(svg ? style.fill : style.color), behind);
    const [low, high] = [luminance(front), luminance(behind)].sort((a, b) => a - b);
    if ((high + 0.05) / (low + 0.05) < 4.5) result.faint.push(`${text}: ${front} on ${behind}`);
  }

  for (const svg of document.querySelectorAll('svg')) {
    if (!svg.checkVisibility()) continue;
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].map((text) => {
      // The box of a line of text has room above capitals and below letters.
      const { left, right, top, bottom } = text.getBoundingClientRect();
      const height = bottom - top;
      return { name: text.textContent, left, right, top: top + height * 0.15, bottom: bottom - height * 0.15 };
    });
    texts.forEach((a, i) => {
      if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.top < frame.top - 1 || a.bottom > frame.bottom + 1)
        result.overlapping.push(`${a.name} | edge`);
      for (const b of texts.slice(i + 1))
        if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
          result.overlapping.push(`${a.name} | ${b.name}`);
    });
  }

  for (const image of document.querySelectorAll('img')) {
    if (!image.checkVisibility()) continue;
    const { width, height } = image.getBoundingClientRect();
    const [across, down] = [width / image.naturalWidth, height / image.naturalHeight];
    if (across !== down || across !== Math.round(across) || across < 1)
      result.uneven.push(`${image.alt}: ${across} x ${down}`);
    if (image.alt === '') result.uneven.push('no alternative text');
  }

  for (const section of document.querySelectorAll('section'))
    if (section.children.length < 2) result.empty.push(section.textContent ?? '');
  return result;
}
