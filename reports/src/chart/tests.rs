use super::*;

fn layer(name: &str, ink: Ink, shape: Shape, points: &[(f64, f64)]) -> Layer {
    Layer { name: name.into(), ink, shape, points: points.into() }
}

fn chart(x: Axis, y: Axis, layers: Vec<Layer>) -> Chart {
    Chart {
        id: "it".into(),
        title: "Devices & hubs".into(),
        description: "Half of them after <1 min>.".into(),
        x,
        y,
        layers,
        marks: Vec::new(),
        bands: Vec::new(),
        cells: None,
        room: Room::Half,
    }
}

fn svg(chart: &Chart) -> String {
    // One element a line, so that a difference can be read.
    let frames = area::frames(chart.room);
    draw::svg(chart, &bands::Names::of(chart, &frames), frames[0]).into_string().replace("><", ">\n<")
}

#[test]
fn a_curve_with_marks_and_a_bound() {
    let mut chart = chart(
        Axis::elapsed(300.0),
        Axis::share("share of the fleet"),
        vec![
            layer("bound", Ink::Grey, Shape::Beyond, &[(0.0, 0.2), (240.0, 1.0), (300.0, 1.0)]),
            layer("assigned", Ink::Blue, Shape::Line, &[(0.0, 0.0), (10.0, 0.2), (150.0, 0.5), (290.0, 1.0)]),
        ],
    );
    for (x, y, label) in
        [(150.0, 0.5, "50 % 2 m 30 s"), (285.0, 0.99, "99 % 4 m 45 s"), (290.0, 1.0, "all 4 m 50 s")]
    {
        chart.marks.push(Mark { x, y, label: label.into() });
    }
    insta::assert_snapshot!(svg(&chart));
}

#[test]
fn stairs_with_a_rule() {
    let sent = [(0.0, 12.0), (1.0, 12.0), (2.0, 40.0), (3.0, 0.0), (4.0, 0.0)];
    insta::assert_snapshot!(svg(&chart(
        Axis::elapsed(4.0),
        Axis::counts("requests/s", sent.iter().map(|point| point.1)),
        vec![
            layer("sent", Ink::Blue, Shape::Step, &sent),
            layer("intended", Ink::Purple, Shape::DashedStep, &sent),
            layer("quota 17/s", Ink::Grey, Shape::Rule, &[(0.0, 17.0)]),
        ],
    )));
}

#[test]
fn bars_with_names() {
    insta::assert_snapshot!(svg(&chart(
        Axis::named("attempts", vec!["1".into(), "2".into(), "3–4".into()]),
        Axis::counts("devices", [5.0, 0.0, 900.0].into_iter()),
        vec![layer("devices", Ink::Blue, Shape::Bars, &[(0.0, 5.0), (1.0, 0.0), (2.0, 900.0)])],
    )));
}

#[test]
fn a_spectrum_on_two_logarithmic_axes() {
    let points: Vec<(f64, f64)> =
        (0..=4).map(|nines| (quantile(f64::from(nines)), 10f64.powi(nines) * 300.0)).collect();
    insta::assert_snapshot!(svg(&chart(
        Axis::tail(10_000),
        Axis::latency(300, 3_000_000),
        vec![layer("intended", Ink::Blue, Shape::Dashed, &points)],
    )));
}

#[test]
fn small_drawings() {
    insta::assert_snapshot!("a_bar", bar(0.25, Ink::Green).into_string());
    insta::assert_snapshot!("a_strip", Strip { until_s: 10.0 }.row(&[2.0, 7.5]).into_string());
}

#[test]
fn labels_of_marks_never_touch() {
    let mut chart = chart(Axis::elapsed(100.0), Axis::share("s"), Vec::new());
    for index in 0..20 {
        chart.marks.push(Mark { x: 80.0 + f64::from(index), y: 0.5, label: format!("{index} of twenty") });
    }
    let svg = svg(&chart);
    let labels: Vec<(f64, f64)> = svg
        .lines()
        .filter(|line| line.contains("of twenty"))
        .map(|line| {
            let value = |name: &str| {
                let from = line.find(&format!(" {name}=\"")).unwrap() + name.len() + 3;
                line[from..].split('"').next().unwrap().parse::<f64>().unwrap()
            };
            (value("x"), value("y"))
        })
        .collect();
    assert_eq!(labels.len(), 20);
    for (index, a) in labels.iter().enumerate() {
        for b in &labels[index + 1..] {
            assert!((a.1 - b.1).abs() >= 12.0 || (a.0 - b.0).abs() >= 75.0, "{a:?} {b:?}");
        }
    }
}

#[test]
fn a_chart_has_a_drawing_for_pages_and_one_for_phones_with_ids_of_their_own() {
    let mut chart = chart(Axis::elapsed(1.0), Axis::share("s"), Vec::new());
    chart.room = Room::Whole { height: 200 };
    let figure = chart.figure("", &html! { table {} }).into_string();
    for id in ["it-wide-title", "it-wide-desc", "it-narrow-title", "it-narrow-desc"] {
        assert_eq!(figure.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
    }
    assert!(figure.contains("Devices &amp; hubs") && figure.contains("&lt;1 min&gt;"));
}
