//! The loss against tokens and against bytes, as a picture.

use std::fmt::Write as _;

use crate::run::{Curve, Exchange, Point, Run};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 56.0;
const COLOURS: [&str; 6] = ["#1b6ca8", "#c8553d", "#2e8b57", "#8a5a9e", "#b8860b", "#444444"];

/// One of the two panels: where a value lies on its axis.
struct Panel {
    left: f64,
    title: &'static str,
    x: fn(&Point) -> f64,
    range: [f64; 2],
}

/// Two panels of the runs that are compared under their plain names.
pub(crate) fn svg(runs: &[(Run, Curve)]) -> String {
    let shown: Vec<&(Run, Curve)> = runs.iter().filter(|(run, _)| is_shown(run)).collect();
    let points = || shown.iter().flat_map(|(_, curve)| &curve.points);
    let tokens = points().map(|point| point.tokens as f64).fold(1.0, f64::max);
    let bytes = points().map(|point| point.bytes as f64).filter(|&bytes| bytes > 0.0);
    let (least, most) = bytes.fold((f64::MAX, 1.0_f64), |(low, high), bytes| (low.min(bytes), high.max(bytes)));
    let high = points().map(|point| f64::from(point.loss)).fold(0.0, f64::max);
    let low = points().map(|point| f64::from(point.loss)).fold(high, f64::min);
    let panels = [
        Panel { left: 0.0, title: "tokens, all workers", x: |point| point.tokens as f64, range: [0.0, tokens] },
        Panel {
            left: WIDTH + MARGIN,
            title: "bytes sent by each worker (logarithmic)",
            x: |point| (point.bytes.max(1) as f64).log10(),
            range: [least.min(most).log10(), most.log10()],
        },
    ];
    let (width, height) = (2.0 * (WIDTH + MARGIN) + 20.0, HEIGHT + 2.0 * MARGIN + 18.0 * shown.len() as f64);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for panel in &panels {
        panel.draw(&mut out, &shown, [low, high]);
    }
    for (at, (run, _)) in shown.iter().enumerate() {
        let y = HEIGHT + MARGIN + 34.0 + 18.0 * at as f64;
        let (colour, name) = (COLOURS[at % COLOURS.len()], &run.name);
        let workers = if run.workers == 1 { String::new() } else { format!(", {} workers", run.workers) };
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "<line x1=\"{MARGIN}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{}\" y=\"{}\">{name}{workers}</text>",
            MARGIN + 24.0,
            MARGIN + 30.0,
            y + 4.0
        );
    }
    out + "</svg>\n"
}

fn is_shown(run: &Run) -> bool {
    !matches!(run.exchange, Exchange::Alone) && !run.name.contains(',')
}

impl Panel {
    fn draw(&self, out: &mut String, shown: &[&(Run, Curve)], [low, high]: [f64; 2]) {
        let (left, top) = (self.left + MARGIN, MARGIN / 2.0);
        let across = |x: f64| left + (x - self.range[0]) / (self.range[1] - self.range[0]).max(1e-9) * (WIDTH - MARGIN);
        let down = |loss: f64| top + (high - loss) / (high - low).max(1e-9) * HEIGHT;
        let (right, bottom) = (left + WIDTH - MARGIN, top + HEIGHT);
        let mut line = |text: String| {
            // Writing to a string does not fail.
            let _ = writeln!(out, "{text}");
        };
        line(format!("<path d=\"M{left} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"#888\"/>"));
        for part in 0..=4 {
            let share = f64::from(part) / 4.0;
            let loss = low + share * (high - low);
            line(format!(
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{loss:.2}</text>",
                left - 6.0,
                down(loss) + 4.0
            ));
            let value = self.range[0] + share * (self.range[1] - self.range[0]);
            let text = if self.left == 0.0 { short(value) } else { short(10_f64.powf(value)) };
            line(format!(
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
                across(value),
                bottom + 16.0
            ));
        }
        line(format!("<text x=\"{left}\" y=\"{}\">{}</text>", bottom + 32.0, self.title));
        line(format!("<text x=\"{left}\" y=\"{}\">held-out loss, nats per byte</text>", top - 8.0));
        for (at, (run, curve)) in shown.iter().enumerate() {
            if self.left > 0.0 && run.workers == 1 {
                continue;
            }
            let places = curve
                .points
                .iter()
                .map(|point| format!("{:.1},{:.1}", across((self.x)(point)), down(f64::from(point.loss))));
            let places = places.collect::<Vec<String>>().join(" ");
            let colour = COLOURS[at % COLOURS.len()];
            line(format!("<polyline points=\"{places}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>"));
        }
    }
}

/// A number with a decimal prefix.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e9 => format!("{:.1} G", value / 1e9),
        value if value >= 1e6 => format!("{:.1} M", value / 1e6),
        value if value >= 1e3 => format!("{:.0} k", value / 1e3),
        value => format!("{value:.0}"),
    }
}
