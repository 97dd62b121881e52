// Plots as pure functions from data to a drawing, in the colours of a theme: for the report, the comparison of runs and
// figures in files.
export { type Drawing, type Marker, markers, type Point, type Shape } from './drawing.ts';
export { colorOf, type LinePlotOptions, linePlot, markerOf, type Reference, type Series } from './line_plot.ts';
export { paperTheme, parseLength } from './paper.ts';
export { type PathPlotOptions, pathPlot, reachOf } from './path_plot.ts';
export { pdfFile } from './pdf.ts';
export { escapeHtml, inlineSvg, outlineOf, svgFile } from './svg.ts';
export { fitText, textWidth } from './text.ts';
export { darkTheme, lightTheme, pageTheme, type Theme, themeVariables } from './theme.ts';
