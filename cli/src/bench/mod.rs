//! `maxmargin bench`: the speed of each loss, next to the limit that memory sets in the same run.
//!
//! A case and its ceiling are measured in turn, since only their ratio is meaningful on a machine that does other work
//! too. Inputs come from a fixed seed and are in memory (of the device) before the clock starts.

mod cases;
mod ceiling;

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Args;
use maxmargin::Device;
use maxmargin::train::ProductProbe;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::place::{self, Place, Where};
use crate::report::{device_json, print};
use cases::{Case, Size};

/// Bytes per second of each loss at several sizes, forward and with the gradient. The ratio compares this speed with
/// reading and writing (on a GPU: copying) as many bytes without a loss, measured in turn with the case.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  maxmargin bench --quick --filter binary\n  maxmargin bench --device gpu --json")]
pub(crate) struct BenchArguments {
    /// Run only cases whose names contain this text.
    #[arg(long)]
    pub(crate) filter: Option<String>,
    /// Use small sizes and few rounds.
    #[arg(long)]
    pub(crate) quick: bool,
    #[command(flatten)]
    pub(crate) place: Where,
}

/// Rounds of a case and its ceiling.
const ROUNDS: usize = 21;

const QUICK_ROUNDS: usize = 5;

/// Time for which a case and its ceiling run before they are measured (not with --quick). While data is made, all cores
/// but one sleep, and a virtual machine's cores take some 100 ms to regain their speed.
const WARM_UP: Duration = Duration::from_millis(150);

/// Rows and columns of the matrices that are multiplied.
const PRODUCTS: [usize; 4] = [1, 256, 1024, 2048];

/// First quartile, median and third quartile of measured seconds.
#[derive(Clone, Copy, Debug)]
struct Quartiles([f64; 3]);

impl Quartiles {
    fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |part: usize| seconds.get(seconds.len() * part / 4).copied().unwrap_or(f64::NAN);
        Self([at(1), at(2), at(3)])
    }

    fn median(self) -> f64 {
        self.0[1]
    }
}

struct Measured {
    case: Case,
    seconds: Quartiles,
    ceiling: Quartiles,
    /// Measured by the GPU's own clock, where it has one.
    kernel: Option<Quartiles>,
    /// The ceiling measured by the same clock.
    kernel_ceiling: Option<Quartiles>,
}

pub(crate) fn run(arguments: &BenchArguments) -> Outcome<()> {
    let device = match place::of(&arguments.place)? {
        Place::Named(device) => device,
        Place::Auto(gpu) => gpu.map_or(Device::Cpu, Device::from),
    };
    let rounds = if arguments.quick { QUICK_ROUNDS } else { ROUNDS };
    let wanted = |name: &str| arguments.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    let sizes = if arguments.quick { Size::QUICK } else { Size::ALL };
    let names = cases::names(sizes, &device).into_iter().filter(|name| wanted(name)).count();
    if names == 0 {
        let filter = arguments.filter.as_deref().unwrap_or("");
        return Err(Failure::usage(format!("--filter {filter}: no case has this in its name")));
    }
    let is_text = !arguments.place.json;
    if is_text && !arguments.place.quiet {
        print(&format!("device    {}, {} threads", device.name(), threads()))?;
        print(&format!("rounds    {rounds} of each case and its ceiling, in turn; quartiles and medians"))?;
        print(&format!(
            "\n{:<46} {:>11} {:>19} {:>8} {:>8} {:>8}{}",
            "case",
            "time",
            "quartiles",
            "GB/s",
            "ceiling",
            "ratio",
            kernel_columns(&device, ["kernels", "GB/s", "ratio"].map(String::from))
        ))?;
    }
    let call = smallest_call(&device, rounds)?;
    let mut rows = Vec::new();
    for &size in sizes {
        cases::for_each(size, &device, &wanted, &mut |case| {
            let measured = measure(case, &device, rounds)?;
            if is_text {
                print(&measured.line(&device))?;
            }
            rows.push(measured.json());
            Ok(())
        })?;
    }
    let products = products(&device, rounds)?;
    if is_text {
        for (size, seconds) in &products {
            let rate = flops(*size) / seconds.median() / 1e9;
            print(&format!("product of matrices, {size}^3: {}, {rate:.2} GFLOP/s", time(seconds.median())))?;
        }
        return print(&format!("\nsmallest call: {}", time(call.median())));
    }
    let products: Vec<Value> = products
        .iter()
        .map(|(size, seconds)| {
            json!({
                "size": size,
                "seconds": seconds.median(),
                "seconds_quartiles": [seconds.0[0], seconds.0[2]],
                "flops_per_second": flops(*size) / seconds.median(),
            })
        })
        .collect();
    let all = json!({
        "device": device_json(&device),
        "threads": threads(),
        "rounds": rounds,
        "smallest_call_seconds": call.median(),
        "cases": rows,
        "products": products,
    });
    print(&all.to_string())
}

/// Times products of square matrices, as dense layers compute them; on a GPU, size 1 is the shortest dispatch.
fn products(device: &Device, rounds: usize) -> Outcome<Vec<(usize, Quartiles)>> {
    let measure = |&size: &usize| {
        let mut multiply: Box<dyn FnMut() -> Outcome<()>> = match device {
            Device::Gpu(gpu) => {
                let probe = gpu.product_probe(size, size, size).map_err(Failure::data)?;
                Box::new(move || probe.multiply().map_err(Failure::data))
            }
            _ => {
                let mut probe = ProductProbe::new(size, size, size);
                Box::new(move || {
                    probe.multiply();
                    black_box(probe.output());
                    Ok(())
                })
            }
        };
        multiply()?;
        let times = (0..rounds).map(|_| seconds(&mut multiply)).collect::<Outcome<Vec<_>>>()?;
        Ok((size, Quartiles::of(times)))
    };
    PRODUCTS.iter().map(measure).collect()
}

/// Multiplications and additions of a product of square matrices.
fn flops(size: usize) -> f64 {
    2.0 * (size as f64).powi(3)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Times one sample: the fixed cost of a call.
fn smallest_call(device: &Device, rounds: usize) -> Outcome<Quartiles> {
    let case = cases::smallest(device)?;
    (case.run)(device)?;
    let calls = (0..rounds).map(|_| seconds(|| (case.run)(device))).collect::<Outcome<Vec<_>>>()?;
    Ok(Quartiles::of(calls))
}

fn measure(case: Case, device: &Device, rounds: usize) -> Outcome<Measured> {
    let mut ceiling = ceiling::Ceiling::new(&case, device)?;
    let started = Instant::now();
    loop {
        ceiling.run()?;
        (case.run)(device)?;
        if rounds < ROUNDS || started.elapsed() >= WARM_UP {
            break;
        }
    }
    let (mut works, mut ceilings) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ceilings.push(seconds(|| ceiling.run())?);
        works.push(seconds(|| (case.run)(device))?);
    }
    // Measured last, since a running clock takes time of its own.
    let (mut kernels, mut kernel_ceilings) = (Vec::new(), Vec::new());
    if let Device::Gpu(gpu) = device
        && gpu.start_kernel_clock()
    {
        for _ in 0..rounds {
            ceiling.run()?;
            kernel_ceilings.extend(gpu.kernel_seconds().map_err(Failure::data)?);
            (case.run)(device)?;
            kernels.extend(gpu.kernel_seconds().map_err(Failure::data)?);
        }
        gpu.stop_kernel_clock();
    }
    let quartiles = |seconds: Vec<f64>| seconds.iter().any(|&s| s > 0.0).then(|| Quartiles::of(seconds));
    Ok(Measured {
        case,
        seconds: Quartiles::of(works),
        ceiling: Quartiles::of(ceilings),
        kernel: quartiles(kernels),
        kernel_ceiling: quartiles(kernel_ceilings),
    })
}

/// The last columns of the table, where kernels are measured too.
fn kernel_columns(device: &Device, [time, rate, ratio]: [String; 3]) -> String {
    match device {
        Device::Gpu(_) => format!(" {time:>11} {rate:>8} {ratio:>8}"),
        _ => String::new(),
    }
}

fn seconds(work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64())
}

/// Seconds in a readable unit.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.2} us", s * 1e6),
        s if s < 1.0 => format!("{:.3} ms", s * 1e3),
        s => format!("{s:.3} s"),
    }
}

impl Measured {
    fn bytes(&self) -> f64 {
        (self.case.bytes_read + self.case.bytes_written) as f64
    }

    /// The speed of the case as a fraction of the ceiling's.
    fn ratio(&self) -> f64 {
        self.ceiling.median() / self.seconds.median()
    }

    /// As [`Measured::ratio`], by the GPU's own clock.
    fn kernel_ratio(&self) -> Option<f64> {
        Some(self.kernel_ceiling?.median() / self.kernel?.median())
    }

    fn line(&self, device: &Device) -> String {
        let [first, median, third] = self.seconds.0;
        let rate = |kernel: Quartiles| format!("{:.2}", self.bytes() / kernel.median() / 1e9);
        let kernel = [
            self.kernel.map(|kernel| time(kernel.median())),
            self.kernel.map(rate),
            self.kernel_ratio().map(|ratio| format!("{ratio:.2}")),
        ];
        format!(
            "{:<46} {:>11} {:>19} {:>8.2} {:>8.2} {:>8.2}{}",
            self.case.name,
            time(median),
            format!("{:.3} to {:.3}", first / median, third / median),
            self.bytes() / median / 1e9,
            self.bytes() / self.ceiling.median() / 1e9,
            self.ratio(),
            kernel_columns(device, kernel.map(Option::unwrap_or_default))
        )
    }

    fn json(&self) -> Value {
        json!({
            "case": self.case.name,
            "samples": self.case.samples,
            "seconds": self.seconds.median(),
            "seconds_quartiles": [self.seconds.0[0], self.seconds.0[2]],
            "bytes_read": self.case.bytes_read,
            "bytes_written": self.case.bytes_written,
            "bytes_per_second": self.bytes() / self.seconds.median(),
            "samples_per_second": self.case.samples as f64 / self.seconds.median(),
            "ceiling_seconds": self.ceiling.median(),
            "ceiling_fraction": self.ratio(),
            "kernel_seconds": self.kernel.map(Quartiles::median),
            "kernel_ceiling_fraction": self.kernel_ratio(),
        })
    }
}
