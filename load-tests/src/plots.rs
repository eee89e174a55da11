//! Three pictures of the results, as SVG: the distribution of latency, deliveries over processor time, memory over documents.

use std::path::Path;

use plotters::prelude::*;
use serde_json::Value;

use crate::servers::Kind;

const SIZE: (u32, u32) = (860, 480);

/// A server's points.
struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Writes every picture for which there are results, and returns their names.
pub fn draw(lines: &[Value], folder: &Path) -> anyhow::Result<Vec<&'static str>> {
    std::fs::create_dir_all(folder)?;
    let mut drawn = Vec::new();
    // The x axis stretches towards the last percent, which is what a distribution of latency is about.
    let stretched =
        |point: &[Value]| Some((-(1.0 - point.first()?.as_f64()?).max(1e-4).log10(), point.get(1)?.as_f64()?));
    let latency = series(lines, "steady", "distribution", stretched);
    if !latency.is_empty() {
        let labels = |x: &f64| format!("{}%", 100.0 * (1.0 - 10f64.powf(-x)));
        let path = folder.join("latency.svg");
        logarithmic(&path, "Steady typing: latency by percentile", ("percentile", "ms"), &labels, &latency)?;
        drawn.push("latency.svg");
    }
    let throughput =
        series(lines, "burst-one", "steps", |point| Some((point.get(3)?.as_f64()?, point.get(1)?.as_f64()?)));
    if !throughput.is_empty() {
        let labels = |x: &f64| format!("{x:.1}");
        let path = folder.join("deliveries.svg");
        let axes = ("share of a core", "deliveries/s");
        logarithmic(&path, "One writer per room, ever faster: deliveries over processor", axes, &labels, &throughput)?;
        drawn.push("deliveries.svg");
    }
    let memory = ["documents", "documents-peers"].iter().flat_map(|run| {
        series(lines, run, "curve", |point| Some((point.first()?.as_f64()?, point.get(1)?.as_f64()? / 1024.0)))
    });
    let memory: Vec<_> = memory.collect();
    if !memory.is_empty() {
        let labels = |x: &f64| format!("{x:.0}");
        let path = folder.join("memory.svg");
        let axes = ("open documents of 1 KB, each with a connection", "MiB");
        logarithmic(&path, "Memory over open documents", axes, &labels, &memory)?;
        drawn.push("memory.svg");
    }
    Ok(drawn)
}

/// The points that each server's last result has under a key.
fn series(lines: &[Value], run: &str, key: &str, point: impl Fn(&[Value]) -> Option<(f64, f64)>) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for line in lines.iter().filter(|line| line["scenario"] == run) {
        let (Some(name), Some(points)) = (line["server"].as_str(), line["result"][key].as_array()) else { continue };
        let points = points.iter().filter_map(|at| point(at.as_array()?)).filter(|(_, y)| *y > 0.0).collect();
        all.retain(|series| series.name != name);
        all.push(Series { name: name.to_owned(), points });
    }
    all
}

fn logarithmic(
    path: &Path,
    title: &str,
    (x_title, y_title): (&str, &str),
    x_label: &dyn Fn(&f64) -> String,
    all: &[Series],
) -> anyhow::Result<()> {
    let points = || all.iter().flat_map(|series| series.points.iter().copied());
    let (left, right) = points().fold((f64::MAX, f64::MIN), |(left, right), (x, _)| (left.min(x), right.max(x)));
    let (low, high) = points().fold((f64::MAX, f64::MIN), |(low, high), (_, y)| (low.min(y), high.max(y)));
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(left..right.max(left + 1e-9), (low * 0.8..high * 1.25).log_scale())?;
    chart.configure_mesh().x_desc(x_title).y_desc(y_title).x_label_formatter(x_label).light_line_style(WHITE).draw()?;
    for (number, series) in all.iter().enumerate() {
        let width = if series.name == Kind::Ours.name() { 3 } else { 1 };
        let style = ShapeStyle { color: Palette99::pick(number).to_rgba(), filled: false, stroke_width: width };
        chart
            .draw_series(LineSeries::new(series.points.iter().copied(), style))?
            .label(&series.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn there_is_a_picture_for_what_was_measured_and_none_for_the_rest() {
        let folder = tempfile::tempdir().expect("a folder");
        let result = json!({"distribution": [[0.0, 0.1], [0.5, 0.2], [0.99, 0.9], [1.0, 3.0]]});
        let lines = [json!({"scenario": "steady", "server": "ours", "result": result})];
        assert_eq!(draw(&lines, folder.path()).expect("drawn"), ["latency.svg"]);
        let svg = std::fs::read_to_string(folder.path().join("latency.svg")).expect("written");
        assert!(svg.starts_with("<svg") && svg.contains("ours"));
    }
}
