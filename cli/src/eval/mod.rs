//! `maxmargin eval`: read, evaluate, write, report.

mod arguments;
mod auto;
mod given;
mod inputs;
mod outputs;
mod part;
mod settings;
mod stream;
mod task;

use std::ops::Range;
use std::time::Instant;

use maxmargin::plot::{Chart, Format};
use maxmargin::{Device, Targets};

use self::given::{FamilyName, Given};
use self::outputs::Outputs;
use self::stream::Cut;
use self::task::Setup;
use crate::choices::Labels;
use crate::failure::{Failure, Outcome};
use crate::file::{pending, publish_all};
use crate::place::{self, Place};
use crate::report::{About, Report, device_json, print};
use crate::state::{Samples, State};
use crate::words::number_text;

pub(crate) use self::arguments::EvalArguments;
pub(crate) use self::part::Part;
pub(crate) use self::stream::Batches;

pub(crate) fn run(arguments: &EvalArguments) -> Outcome<()> {
    let started = Instant::now();
    let given = arguments.family.given();
    let common = given.common;
    let settings = given.settings()?;
    let mut outputs = Outputs::new(common)?;
    let mut state_out = pending("--state-out", &common.state_out, &[".json"])?;
    let mut plot_out = pending("--plot-out", &common.plot_out, &[".svg", ".png"])?;
    let place = place::of(&common.place)?;
    let opening = Instant::now();
    let (mut files, inputs) = inputs::open(&given, settings.score_kind)?;
    let Setup { loss, options } = if settings.labels == Labels::Auto && given.has_encoded_labels() {
        let block = stream::deciding_block(&inputs, &mut files)?;
        let setup = given.loss(&settings, inputs.targets(&block)?, inputs.class_numbers());
        setup.map_err(|error| inputs.explain_part(error, block.samples.start))?
    } else {
        let setup = given.loss(&settings, Targets::I8(&[]), inputs.class_numbers());
        setup.map_err(|error| inputs.explain(error))?
    };
    let mut notes = Vec::new();
    let charged = match given.family {
        FamilyName::Embedding => Some("charges the sum of both terms, x and max(0, margin - x), as in torch"),
        FamilyName::Cosine => Some("charges nothing, as in torch"),
        _ => None,
    };
    if let Some(charged) = charged
        && let Some(other) =
            stream::deciding_block(&inputs, &mut files)?.first_other_than_one(given.ignore_index).filter(|&x| x != -1.0)
    {
        notes.push(format!("a target other than 1 and -1, such as {} here, {charged}", number_text(other)));
    }
    // Check the type of the scores first, with a block of no samples.
    let nothing = files.empty();
    let nothing = inputs.batch(&nothing)?;
    let checked = loss.check().and_then(|()| stream::metric(&*loss, &settings).check_batch(&nothing));
    checked.and_then(|_| inputs.check_shapes(&files)).map_err(|error| inputs.explain_part(error, 0))?;
    let opened_seconds = opening.elapsed().as_secs_f64();
    let (device, device_note) = match place {
        Place::Named(device) => (device, None),
        // What is faster may differ from part to part, and devices cut blocks of their own.
        Place::Auto(None) if common.part.is_some() => (Device::cpu(), Some("as for every part".into())),
        Place::Auto(Some(_)) if common.part.is_some() => {
            return Err(Failure::usage(
                "--part goes with a device that is named; auto may choose another one for each part",
            ));
        }
        Place::Auto(gpu) => {
            let (device, note) = auto::choose(&inputs, &files, &*loss, &settings, &outputs, gpu);
            (device, Some(note))
        }
    };
    let (headers, classes) = (files.headers(&given), files.classes());
    let cut = Cut::of(&inputs, &files, &device);
    outputs.begin(&inputs, cut.samples.clone(), inputs.is_double && matches!(device, Device::Cpu))?;
    let streamed = stream::run(&inputs, files, &*loss, &device, &settings, cut.clone(), &mut outputs)?;

    if let (Some(pending), Some(path), Some(batches)) = (&mut plot_out, &common.plot_out, &streamed.batches) {
        let drawn = Format::of(path).and_then(|format| chart(&given, &batches.values).render(format));
        pending.write_bytes(&drawn.map_err(|error| Failure::file(path, error))?)?;
    }
    if streamed.evaluation.value.is_some_and(f64::is_nan) {
        notes.push("a score or a weight that is not finite makes the value NaN; --losses-out shows where".into());
    }
    let written = [&common.grad_out, &common.losses_out, &common.plot_out, &common.state_out];
    let about = About {
        loss: given.family.text(),
        options,
        classes,
        reduction: settings.reduction.to_string(),
        device: device_json(&device),
        notes,
    };
    let samples = Samples::of(&given.files(), inputs.shape.samples, cut.block, common.part);
    let part = common.part.map(|_| part_text(&samples, &cut.samples));
    if let Some(pending) = &mut state_out {
        pending.write_bytes(&State::new(samples, about.clone(), streamed.state).to_bytes()?)?;
    }
    let report = Report {
        about,
        part,
        states: None,
        headers,
        losses_out: common.losses_out.clone(),
        evaluation: streamed.evaluation,
        batches: streamed.batches,
        written: written.into_iter().flatten().cloned().collect(),
        device_note,
        seconds: vec![
            ("read", opened_seconds + streamed.read_seconds),
            ("upload", streamed.upload_seconds),
            ("compute", streamed.compute_seconds),
            ("total", started.elapsed().as_secs_f64()),
        ],
    };
    print(&report.in_form(common.place.json, common.place.quiet))?;
    // All files are complete, and the report is printed, before any file gets its name.
    publish_all(outputs.finish().chain(plot_out).chain(state_out))
}

/// Which samples a part has.
fn part_text(part: &Samples, samples: &Range<usize>) -> String {
    let of_all = format!("{} of {}", part.part, part.parts);
    match samples.end.checked_sub(1).filter(|last| *last >= samples.start) {
        Some(last) => format!("{of_all}: samples {} to {last} of {}", samples.start, part.total),
        None => format!("{of_all}: no samples, since there are fewer blocks than parts"),
    }
}

/// A chart of the batches' values: one line, or one per class.
fn chart(given: &Given<'_>, batches: &[Vec<f64>]) -> Chart {
    let chart = Chart::new(format!("{} loss by batch", given.family.text())).x_label("batch").y_label("loss");
    let lines = batches.iter().map(Vec::len).max().unwrap_or(0);
    let line = |n: usize| batches.iter().map(|batch| batch.get(n).copied().unwrap_or(f64::NAN)).collect::<Vec<_>>();
    (0..lines).fold(chart, |chart, n| chart.line(format!("class {n}"), &line(n)))
}
