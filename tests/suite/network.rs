//! Training compared with Keras and torch, finite differences and the CPU, on the CPU and every adapter.

use crate::harness::{Outcome, Test, label, on_adapter, on_cpu, open};
use half::{bf16, f16};
use libtest_mimic::Trial;
use maxmargin::gpu::{AdapterDescription, ProductWalk};
use maxmargin::loss::Loss;
use maxmargin::nn::{
    Accuracy, Activation, Conventions, Dataset, Dense, Features, History, Initializer, Optimizer, Sequential,
};
use maxmargin::train::{Fit, Trainer};
use maxmargin::{
    BinaryHinge, CategoricalHinge, Device, EmbeddingHinge, Error, Input, MulticlassHinge, MultilabelMargin, Penalty,
    Precision,
};
use serde_json::Value;

/// The largest relative difference between two curves of equal length.
fn difference(got: &[f64], expected: &[f64]) -> Result<f64, String> {
    if got.len() != expected.len() || got.is_empty() {
        return Err(format!("{} values, expected {}", got.len(), expected.len()));
    }
    let of = |(got, expected): (&f64, &f64)| (got - expected).abs() / expected.abs();
    let worst = got.iter().zip(expected).map(of).fold(0.0, |a: f64, b| if b.is_nan() { b } else { a.max(b) });
    if worst.is_nan() { Err("NaN".into()) } else { Ok(worst) }
}

fn within(what: &str, got: &[f64], expected: &[f64], bound: f64) -> Outcome {
    match difference(got, expected)? {
        worst if worst <= bound => Ok(()),
        worst => Err(format!("{what}: off by {worst:e}, at most {bound:e} is allowed").into()),
    }
}

/// 2e-5 on the CPU and 1e-4 on a GPU. Independent f32 and f64 runs stay within 5e-7 of the peers; on the CPU a wrong
/// epsilon shows as 1e-4, and an unweighted last batch as 1e-3.
fn bound(device: &Device) -> f64 {
    if matches!(device, Device::Cpu) { 2e-5 } else { 1e-4 }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

fn fixture() -> Result<Value, Box<dyn std::error::Error>> {
    let path = format!("{}/tests/fixtures/network.json", env!("CARGO_MANIFEST_DIR"));
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

fn tutorial() -> Result<Sequential, Error> {
    let hidden = Dense::new(50).activation(Activation::Relu).initializer(Initializer::HeUniform);
    let output = Dense::new(1).activation(Activation::Tanh).initializer(Initializer::GlorotUniform);
    Sequential::new(2, &[hidden, output], 1)
}

struct Peer {
    fixture: Value,
    train: Dataset,
    test: Dataset,
}

impl Peer {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let fixture = fixture()?;
        let features: Vec<f32> = numbers(&fixture["features"]).into_iter().map(|x| x as f32).collect();
        let (train, test) = Dataset::new(features, 2, numbers(&fixture["targets"]))?.split_tail(0.5)?;
        Ok(Self { fixture, train, test })
    }

    fn run(&self, name: &str) -> &Value {
        &self.fixture["runs"][name]
    }

    fn trainer(
        &self,
        device: &Device,
        loss: BinaryHinge,
        optimizer: Optimizer,
        accuracy: Accuracy,
    ) -> Result<Trainer, Error> {
        let mut trainer = Trainer::new(device.clone(), tutorial()?, loss, optimizer)?.accuracy(accuracy);
        trainer.set_parameters(&numbers(&self.fixture["parameters"]))?;
        Ok(trainer)
    }

    /// Trains as the peer did and compares the curves that the peer has.
    fn follow(&self, device: &Device, name: &str, loss: BinaryHinge, optimizer: Optimizer, bound: f64) -> Outcome {
        let expected = numbers(&self.run(name)["loss"]);
        let fit = Fit::new().epochs(expected.len() as u64).validation(&self.test).shuffle(false);
        // Sign accuracy lets a GPU train small networks in one workgroup.
        let mut trainer = self.trainer(device, loss.clone(), optimizer, Accuracy::Sign)?;
        let history = trainer.fit(&self.train, &fit, |_| {})?;
        within(&format!("{name} loss, by sign"), &history.line(|e| Some(e.loss)), &expected, bound)?;
        let mut trainer = self.trainer(device, loss, optimizer, Accuracy::Keras)?;
        let history = trainer.fit(&self.train, &fit, |_| {})?;
        within(&format!("{name} loss"), &history.line(|e| Some(e.loss)), &expected, bound)?;
        if self.run(name)["val_loss"].is_array() {
            let val_loss = history.line(|e| e.val_loss);
            within(&format!("{name} val_loss"), &val_loss, &numbers(&self.run(name)["val_loss"]), bound)?;
            // A score close to 0.5 may fall on either side.
            for (key, line) in
                [("accuracy", history.line(|e| e.accuracy)), ("val_accuracy", history.line(|e| e.val_accuracy))]
            {
                let expected = numbers(&self.run(name)[key]);
                let worst = line.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                if line.len() != expected.len() || worst > 0.0041 || line.iter().any(|x| x.is_nan()) {
                    return Err(format!("{name} {key}: off by {worst}").into());
                }
            }
        }
        Ok(())
    }
}

fn follows_keras(device: &Device) -> Outcome {
    let peer = Peer::new()?;
    let sgd = Optimizer::sgd(0.01).momentum(0.9).conventions(Conventions::Keras);
    let hinge = BinaryHinge::new;
    peer.follow(device, "keras hinge", hinge(), sgd, bound(device))?;
    peer.follow(device, "keras squared", hinge().penalty(Penalty::Squared), sgd, bound(device))?;
    peer.follow(device, "keras sgd", hinge(), Optimizer::sgd(0.02).conventions(Conventions::Keras), bound(device))?;
    peer.follow(device, "keras nesterov", hinge(), sgd.nesterov(true).weight_decay(0.1), bound(device))?;
    // Keras computes the powers of beta in f32, which moves Adam's first steps by 2e-5.
    let adam = Optimizer::adam(0.01).epsilon(1e-3).conventions(Conventions::Keras);
    peer.follow(device, "keras adam", hinge(), adam, 1e-4)?;
    peer.follow(device, "keras adamw", hinge(), Optimizer::adamw(0.01).conventions(Conventions::Keras), 1e-4)
}

fn follows_torch(device: &Device) -> Outcome {
    let peer = Peer::new()?;
    let hinge = BinaryHinge::new;
    peer.follow(device, "torch sgd", hinge(), Optimizer::sgd(0.02).weight_decay(0.1), bound(device))?;
    let nesterov = Optimizer::sgd(0.01).momentum(0.9).nesterov(true).weight_decay(0.1);
    peer.follow(device, "torch nesterov", hinge(), nesterov, bound(device))?;
    let adam = Optimizer::adam(0.01).epsilon(1e-3).weight_decay(0.1);
    peer.follow(device, "torch adam", hinge(), adam, bound(device))?;
    peer.follow(device, "torch adamw", hinge(), Optimizer::adamw(0.01), bound(device))
}

/// The comparison must notice the other peer's rules, a wrong epsilon and another batch size.
fn negative_controls(device: &Device) -> Outcome {
    let peer = Peer::new()?;
    let keras = |optimizer: Optimizer| optimizer.conventions(Conventions::Keras);
    let wrong = [
        ("keras nesterov", Optimizer::sgd(0.01).momentum(0.9).nesterov(true).weight_decay(0.1)),
        ("keras hinge", keras(Optimizer::sgd(0.01).momentum(0.8999))),
        ("keras adam", Optimizer::adam(0.01).epsilon(1e-3)),
        ("torch adam", Optimizer::adam(0.01).epsilon(2e-3).weight_decay(0.1)),
    ];
    for (name, optimizer) in wrong {
        if peer.follow(device, name, BinaryHinge::new(), optimizer, 1e-4).is_ok() {
            return Err(format!("{name} was followed by {optimizer:?}").into());
        }
    }
    if within("", &[1.0, 2.0], &[1.0], 1.0).is_ok() || within("", &[f64::NAN], &[1.0], 1.0).is_ok() {
        return Err("lengths or NaN went unnoticed".into());
    }
    Ok(())
}

/// 32 bits per index, as tests/fixtures/network.py draws them.
fn scrambled(index: u64, seed: u64) -> u64 {
    let x = index + (seed << 32);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) & 0xffff_ffff
}

fn sign(index: u64, seed: u64) -> f64 {
    if scrambled(index, seed).is_multiple_of(2) { -1.0 } else { 1.0 }
}

fn follows_torch_on_images(device: &Device) -> Outcome {
    let images = 1000;
    let pixels: Vec<u8> = (0..images * 2352).map(|i| (scrambled(i, 1) >> 24) as u8).collect();
    let targets: Vec<f64> = (0..images).map(|i| sign(i, 2)).collect();
    let data = Dataset::new(pixels, 2352, targets)?;
    let relu = |units| Dense::new(units).activation(Activation::Relu);
    let mut network = Sequential::new(2352, &[relu(64), relu(32), Dense::new(1).activation(Activation::Tanh)], 0)?;
    let mut parameters = Vec::new();
    for (n, (inputs, outputs)) in [(2352, 64), (64, 32), (32, 1)].into_iter().enumerate() {
        let limit = 1.0 / f64::from(inputs).sqrt();
        let uniform =
            |index: u64, seed: u64| f64::from(((scrambled(index, seed) as f64 / 2f64.powi(31) - 1.0) * limit) as f32);
        parameters.extend((0..inputs as u64 * outputs).map(|i| uniform(i, 10 + n as u64)));
        parameters.extend((0..outputs).map(|i| uniform(i, 20 + n as u64)));
    }
    network.set_parameters(&parameters)?;
    let mut trainer = Trainer::new(device.clone(), network, EmbeddingHinge::new(), Optimizer::adam(1e-4))?;
    let history = trainer.fit(&data, &Fit::new().epochs(5).batch_size(64).shuffle(false), |_| {})?;
    let expected = numbers(&fixture()?["runs"]["torch images"]["loss"]);
    within("loss", &history.line(|e| Some(e.loss)), &expected, bound(device))?;
    if history.epochs.iter().any(|e| e.accuracy.is_some() || e.val_loss.is_some()) {
        return Err("an accuracy of an embedding, or a validation without data".into());
    }
    Ok(())
}

/// Features between -1 and 1, and the targets that `target` gives for each row number.
fn data(rows: u64, columns: u64, target: impl Fn(u64) -> Vec<f64>) -> Result<Dataset, Error> {
    let feature = |i| (scrambled(i, 5) as f64 / 2f64.powi(31) - 1.0) as f32;
    let features: Vec<f32> = (0..rows * columns).map(feature).collect();
    Dataset::new(features, columns as usize, (0..rows).flat_map(target).collect::<Vec<_>>())
}

/// Compares the gradient of all weights, from one step of plain descent at rate 1, with the gradient in f64.
fn one_step<L: Loss + Clone>(device: &Device, loss: L, layers: &str, columns: u64, data: &Dataset) -> Outcome {
    let layers: Vec<Dense> = layers.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let network = Sequential::new(columns as usize, &layers, 3)?;
    let exact = Trainer::new(Device::cpu(), network.clone(), loss.clone(), Optimizer::sgd(1.0))?;
    let expected = exact.precision(Precision::F64)?.gradient(data)?;
    let largest = expected.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
    // Keras's accuracy keeps a GPU from training small networks in one workgroup.
    for accuracy in [Accuracy::Sign, Accuracy::Keras] {
        let trainer = Trainer::new(device.clone(), network.clone(), loss.clone(), Optimizer::sgd(1.0))?;
        let mut trainer = trainer.accuracy(accuracy);
        trainer.fit(data, &Fit::new().batch_size(data.len()).shuffle(false), |_| {})?;
        for (i, (before, after)) in network.parameters().iter().zip(trainer.network().parameters()).enumerate() {
            let got = before - after;
            // Allows for the difference of two weights below 2 in f32, and for the rounding of the sums.
            if (got - expected[i]).abs() > 5e-7 + 2e-5 * largest || got.is_nan() {
                return Err(
                    format!("{} of {layers:?}: gradient[{i}] = {got}, expected {}", loss.name(), expected[i]).into()
                );
            }
        }
    }
    if largest == 0.0 { Err("nothing to learn from".into()) } else { Ok(()) }
}

fn every_loss_and_size(device: &Device) -> Outcome {
    let signs = |i: u64| vec![sign(i, 6)];
    // Edges of tiles: 1, primes, 31 to 33, more than 500 rows.
    for (rows, columns, layers) in [
        (1, 1, "1"),
        (7, 3, "1:tanh"),
        (33, 17, "31:relu,1:sigmoid"),
        (513, 2, "50:relu,1:tanh"),
        (600, 65, "67:sigmoid,33:tanh,13:relu,1"),
        (64, 1000, "32:relu,1:tanh"),
    ] {
        one_step(device, BinaryHinge::new(), layers, columns, &data(rows, columns, signs)?)?;
    }
    let class = |i: u64| vec![(scrambled(i, 6) % 5) as f64];
    let rows = data(101, 9, class)?;
    one_step(device, MulticlassHinge::crammer_singer(), "20:relu,5", 9, &rows)?;
    one_step(device, MulticlassHinge::weston_watkins().penalty(Penalty::Squared), "20:tanh,5", 9, &rows)?;
    one_step(device, MulticlassHinge::one_vs_all().class_weights([0.5, 1.0, 2.0, 0.0, 1.0]), "5", 9, &rows)?;
    one_step(device, CategoricalHinge::new(), "5:sigmoid", 9, &rows)?;
    let labels = |i: u64| vec![(scrambled(i, 6) % 5) as f64, (scrambled(i, 7) % 5) as f64, -1.0, 0.0, 0.0];
    one_step(device, MultilabelMargin::new(), "20:relu,5", 9, &data(101, 9, labels)?)?;
    let three = |i: u64| (0..3).map(|c| sign(3 * i + c, 6)).collect();
    one_step(device, BinaryHinge::new(), "8:relu,3:tanh", 4, &data(50, 4, three)?)
}

/// Half precision is only storage: training gives the same bits as on the same numbers in f32, both with layers small
/// enough for one workgroup and with larger ones.
fn half_precision_is_storage(device: &Device) -> Outcome {
    for layers in ["50:relu,1:tanh", "600:relu,1:tanh"] {
        let layers: Vec<Dense> = layers.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let numbers = || (0..101 * 7).map(|i| (scrambled(i, 5) as f64 / 2f64.powi(31) - 1.0) as f32);
        let targets: Vec<f64> = (0..101).map(|i| sign(i, 6)).collect();
        let trained = |features: Features| -> Result<Vec<f64>, Error> {
            let network = Sequential::new(7, &layers, 3)?;
            let data = Dataset::new(features, 7, targets.clone())?;
            let mut trainer = Trainer::new(device.clone(), network, BinaryHinge::new(), Optimizer::adam(0.01))?;
            trainer.fit(&data, &Fit::new().epochs(3).validation(&data), |_| {})?;
            let scores = trainer.predict(data.features())?;
            Ok([trainer.network().parameters(), &scores].concat())
        };
        let half: Vec<f16> = numbers().map(f16::from_f32).collect();
        let brain: Vec<bf16> = numbers().map(bf16::from_f32).collect();
        let wide_half: Vec<f32> = half.iter().map(|&x| x.into()).collect();
        let wide_brain: Vec<f32> = brain.iter().map(|&x| x.into()).collect();
        let (half, brain) = (trained(half.into())?, trained(brain.into())?);
        if half != trained(wide_half.into())? || brain != trained(wide_brain.into())? {
            return Err("half precision is not what it stands for".into());
        }
        if half == brain {
            return Err("two roundings trained alike: nothing was compared".into());
        }
    }
    Ok(())
}

fn finite_differences() -> Outcome {
    for (layers, seed) in [("7:tanh,1", 1), ("5:sigmoid,6:tanh,1:tanh", 2), ("8:relu,4:relu,1:sigmoid", 3)] {
        let layers: Vec<Dense> = layers.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let data = data(23, 3, |i| vec![sign(i, 6)])?;
        let network = Sequential::new(3, &layers, seed)?;
        // No kink comes near: the smooth hinge's slope is continuous, and no weighted sum is near 0.
        let loss = BinaryHinge::new().penalty(Penalty::RENNIE);
        let trainer = Trainer::new(Device::cpu(), network.clone(), loss, Optimizer::sgd(0.1))?;
        let mut trainer = trainer.precision(Precision::F64)?;
        let gradient = trainer.gradient(&data)?;
        for i in 0..gradient.len() {
            let mut at = |delta: f64| -> Result<f64, Error> {
                let mut moved = network.parameters().to_vec();
                moved[i] += delta;
                trainer.set_parameters(&moved)?;
                Ok(trainer.evaluate(&data)?.loss)
            };
            let difference = (at(1e-6)? - at(-1e-6)?) / 2e-6;
            if (difference - gradient[i]).abs() > 1e-8 * (1.0 + gradient[i].abs()) {
                return Err(format!("{layers:?}: gradient[{i}] = {}, difference {difference}", gradient[i]).into());
            }
        }
    }
    Ok(())
}

fn circles() -> Result<(Dataset, Dataset), Error> {
    Dataset::circles(1000, 0.1, 0.8, 1)?.signs().split_tail(0.5)
}

fn fit(trainer: &mut Trainer, epochs: u64) -> Result<History, Error> {
    let (train, test) = circles()?;
    trainer.fit(&train, &Fit::new().epochs(epochs).validation(&test).seed(4), |_| {})
}

/// Method 1 of the tutorial with this crate's own data and seeds.
fn learns_circles(device: &Device) -> Outcome {
    let optimizer = Optimizer::sgd(0.01).momentum(0.9);
    let mut trainer = Trainer::new(device.clone(), tutorial()?, BinaryHinge::new(), optimizer)?;
    let history = fit(&mut trainer, 200)?;
    let last = history.epochs.last().ok_or("no epochs")?;
    let (train, test) = circles()?;
    let (score, scores) = (trainer.evaluate(&test)?, trainer.predict(test.features())?);
    let right = scores.iter().zip(test.targets()).filter(|(s, t)| (**s > 0.0) == (**t > 0.0)).count();
    let accuracy = trainer.evaluate(&train)?.accuracy.unwrap_or(0.0);
    if !(0.25..0.45).contains(&last.loss) || accuracy < 0.8 || score.accuracy != Some(right as f64 / 500.0) {
        return Err(format!("{last:?}, {score:?}, train accuracy {accuracy}, {right} right").into());
    }
    // The scores at the end of a fit equal an evaluation's, even after an epoch in another order.
    let scored = trainer.fit(&train, &Fit::new().epochs(201).validation(&test).seed(4).scores(), |_| {})?;
    let expected = (Some(trainer.evaluate(&train)?), Some(trainer.evaluate(&test)?));
    if (scored.training, scored.validation) != expected || expected.0 == expected.1 || history.training.is_some() {
        return Err(format!("{scored:?} instead of {expected:?}").into());
    }
    within("evaluate", &[score.loss], &[last.val_loss.unwrap_or(f64::NAN)], 1e-6)
}

/// A second run gives the same to the bit, and so does a training that was saved, dropped and resumed.
fn resumes_to_the_bit(device: &Device) -> Outcome {
    for optimizer in [Optimizer::sgd(0.01).momentum(0.9), Optimizer::adam(0.01), Optimizer::sgd(0.01)] {
        let new = || Trainer::new(device.clone(), tutorial()?, BinaryHinge::new(), optimizer);
        let (mut whole, mut first) = (new()?, new()?);
        let expected = fit(&mut whole, 6)?;
        let begun = fit(&mut first, 2)?;
        let saved = first.checkpoint()?;
        let mut second = new()?;
        second.resume(&saved)?;
        let resumed = fit(&mut second, 6)?;
        let line = |history: &History| history.line(|e| Some(e.loss));
        if [line(&begun), line(&resumed)].concat() != line(&expected) || second.network() != whole.network() {
            return Err(format!(
                "{optimizer:?}: {:?} and {:?}, not {:?}",
                line(&begun),
                line(&resumed),
                line(&expected)
            )
            .into());
        }
        // Another optimizer's checkpoint, and weights alone, are refused.
        let mut other = Trainer::new(device.clone(), tutorial()?, BinaryHinge::new(), Optimizer::adam(0.02))?;
        let before = other.network().clone();
        for bytes in [saved, whole.network().to_safetensors()?, vec![1, 2, 3]] {
            if other.resume(&bytes).is_ok() || *other.network() != before {
                return Err("a foreign checkpoint was read".into());
            }
        }
    }
    Ok(())
}

/// The value of each activation for every kind of number. NaN stays NaN.
fn activations_of_any_number(device: &Device) -> Outcome {
    let logistic = |z: f64| 1.0 / (1.0 + (-z).exp());
    type Formula = fn(f64) -> f64;
    let activations: [(&str, Formula); 4] =
        [("identity", |z| z), ("relu", |z| z.max(0.0)), ("tanh", f64::tanh), ("sigmoid", logistic)];
    let finite: [f32; 11] = [-1000.0, -90.0, -88.0, -10.0, -0.25, 0.0, 0.25, 10.0, 88.0, 90.0, 1000.0];
    let numbers: Vec<f32> = finite.into_iter().chain([f32::NAN]).collect();
    for (name, activation) in activations {
        let mut network = Sequential::new(1, &[format!("1:{name}").parse()?], 1)?;
        network.set_parameters(&[1.0, 0.0])?;
        let got = maxmargin::train::predict(device, &network, &numbers.clone().into(), Precision::F32)?;
        if got.len() != numbers.len() || !got[finite.len()].is_nan() {
            return Err(format!("{name} of NaN: {got:?}").into());
        }
        for (&z, &got) in finite.iter().zip(&got) {
            let expected = activation(z.into());
            // A power below the smallest normal number may become 0. NaN is off.
            let is_near = (got - expected).abs() <= 1e-6 * expected.abs().max(1e-31);
            if !is_near {
                return Err(format!("{name} of {z}: expected {expected}, got {got}").into());
            }
        }
        if name == "sigmoid" && got[0] != 0.0 {
            return Err(format!("sigmoid of -1000: {}", got[0]).into());
        }
        network.set_parameters(&[f64::NAN, 0.0])?;
        let data = Dataset::new(vec![1f32; 4], 1, vec![1.0, -1.0, 1.0, -1.0])?;
        let trained = Trainer::new(device.clone(), network, BinaryHinge::new(), Optimizer::sgd(0.1))?.fit(
            &data,
            &Fit::new().epochs(1),
            |_| {},
        );
        if !matches!(trained, Err(Error::Diverged { .. })) {
            return Err(format!("{name} trained on NaN: {trained:?}").into());
        }
    }
    match Dataset::new(vec![0.0, 1.0, f64::NAN], 1, vec![1.0; 3]) {
        Err(Error::Value { input: Input::Features, index: 2, .. }) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// A loss that leaves f32 ends training with an error that names epoch and step, and leaves valid weights.
fn diverges_with_an_error(device: &Device) -> Outcome {
    let network = Sequential::new(2, &[Dense::new(8), Dense::new(1)], 1)?;
    let loss = BinaryHinge::new().penalty(Penalty::Squared);
    let mut trainer = Trainer::new(device.clone(), network.clone(), loss, Optimizer::sgd(50.0))?;
    let (train, _) = circles()?;
    let result = trainer.fit(&train, &Fit::new().epochs(50), |_| {});
    let Err(Error::Diverged { epoch, step, .. }) = result else { return Err(format!("{result:?}").into()) };
    if step >= 16 || trainer.epochs_done() > epoch || !trainer.evaluate(&train)?.loss.is_finite() {
        return Err(format!("epoch {epoch}, step {step}: {:?}", trainer.evaluate(&train)).into());
    }
    // No loss sees the weights of the last update.
    let mut trainer = Trainer::new(device.clone(), network.clone(), BinaryHinge::new(), Optimizer::sgd(1e300))?;
    let result = trainer.fit(&train, &Fit::new().epochs(1).batch_size(train.len()), |_| {});
    let Err(Error::Diverged { epoch: 0, step: 0, .. }) = result else { return Err(format!("{result:?}").into()) };
    if trainer.epochs_done() != 0 || trainer.network().parameters() != network.parameters() {
        return Err("the weights before the last update are not back".into());
    }
    Ok(())
}

fn stops_early_and_when_told(device: &Device) -> Outcome {
    let (train, test) = circles()?;
    let trainer = || Trainer::new(device.clone(), tutorial()?, BinaryHinge::new(), Optimizer::sgd(0.0));
    let history = trainer()?.fit(&train, &Fit::new().epochs(20).validation(&test).early_stopping(3), |_| {})?;
    if history.epochs.len() != 4 || history.end != maxmargin::nn::End::EarlyStopping {
        return Err(format!("{history:?}").into());
    }
    let stop = std::sync::atomic::AtomicBool::new(true);
    let mut told = trainer()?;
    let history = told.fit(&train, &Fit::new().epochs(20).stop(&stop), |_| {})?;
    if history.end != maxmargin::nn::End::Stopped || history.epochs.len() > 1 {
        return Err(format!("{history:?}").into());
    }
    // An interrupted training continues as if nothing had happened.
    let history = told.fit(&train, &Fit::new().epochs(2), |_| {})?;
    let whole = trainer()?.fit(&train, &Fit::new().epochs(2), |_| {})?;
    let (Some(next), Some(last)) = (history.epochs.first(), history.epochs.last()) else {
        return Err("no epochs".into());
    };
    let expected = whole.epochs.iter().find(|e| e.epoch == next.epoch).ok_or("another epoch")?;
    within("after a stop", &[next.loss, last.epoch as f64], &[expected.loss, 1.0], 1e-12)
}

fn bad_input(device: &Device) -> Outcome {
    let trainer = || Trainer::new(device.clone(), tutorial()?, BinaryHinge::new(), Optimizer::sgd(0.01));
    let expect = |result: Result<History, Error>, words: &str| match result {
        Err(error) if error.to_string().contains(words) => Ok(()),
        other => Err(format!("{words}: {other:?}")),
    };
    let fit = |data: &Dataset| trainer()?.fit(data, &Fit::new(), |_| {});
    expect(fit(&Dataset::new(vec![0f32; 6], 3, vec![1.0, -1.0])?), "features: expected shape (N, 2)")?;
    expect(
        fit(&Dataset::new(vec![0f32; 6], 2, vec![1.0, -1.0, 2.0])?),
        "targets[2]: expected a label of -1 or 1, got 2",
    )?;
    expect(fit(&Dataset::new(vec![0f32; 0], 2, vec![])?), "mean over no samples")?;
    let (train, _) = circles()?;
    expect(trainer()?.fit(&train, &Fit::new().batch_size(0), |_| {}), "batch_size")?;
    let ignoring = MulticlassHinge::crammer_singer().ignore_index(-100);
    for result in [
        Trainer::new(device.clone(), tutorial()?, BinaryHinge::new(), Optimizer::sgd(f64::NAN)).map(drop),
        Trainer::new(device.clone(), tutorial()?, BinaryHinge::new(), Optimizer::sgd(0.1).momentum(1.0)).map(drop),
        Trainer::new(device.clone(), tutorial()?, BinaryHinge::new(), Optimizer::sgd(0.1).nesterov(true)).map(drop),
        Trainer::new(device.clone(), tutorial()?, BinaryHinge::new(), Optimizer::adam(0.1).epsilon(0.0)).map(drop),
        Trainer::new(device.clone(), tutorial()?, ignoring, Optimizer::sgd(0.1)).map(drop),
        Sequential::new(2, &[], 0).map(drop),
        Sequential::new(1 << 40, &[Dense::new(1 << 40)], 0).map(drop),
        Dataset::new(vec![0f32; 5], 2, vec![0.0; 2]).map(drop),
        Dataset::new(vec![0f32; 4], 2, vec![0.0; 3]).map(drop),
        "50:cubic".parse::<Dense>().map(drop),
        "0:relu".parse::<Dense>().map(drop),
    ] {
        if result.is_ok() {
            return Err("something without meaning was taken".into());
        }
    }
    Ok(())
}

/// Features larger than a binding are read in parts, with the same bits as in one.
fn beyond_a_binding(index: usize) -> Outcome {
    let losses = |device: &Device, rows: usize| -> Result<Vec<f64>, Error> {
        let data = Dataset::moons(rows, 0.1, 2)?.signs();
        // Keras's accuracy keeps the network out of the kernel for small networks.
        let trainer = Trainer::new(device.clone(), tutorial()?, BinaryHinge::new(), Optimizer::adam(0.01))?;
        let mut trainer = trainer.accuracy(Accuracy::Keras);
        let history = trainer.fit(&data, &Fit::new().epochs(2).batch_size(300).validation(&data), |_| {})?;
        Ok([history.line(|e| Some(e.loss)), history.line(|e| e.val_loss)].concat())
    };
    // 80,000 bytes of features, half as many of targets and of order.
    let small = open(index, |options| options.max_binding_bytes = Some(64 << 10))?;
    let (got, expected) = (losses(&small, 10_000)?, losses(&open(index, |_| {})?, 10_000)?);
    if got[..2] != expected[..2] {
        return Err(format!("{got:?} instead of {expected:?}").into());
    }
    // Validation takes fewer rows at a time, so its sums differ.
    within("validation", &got[2..], &expected[2..], 1e-7)?;
    match losses(&small, 20_000) {
        Err(Error::DeviceLimit { limit: 16_384, got: 20_000, .. }) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

const TESTS: &[Test] = &[
    ("follows Keras", follows_keras),
    ("follows torch", follows_torch),
    ("follows torch on images", follows_torch_on_images),
    ("negative controls", negative_controls),
    ("every loss and size", every_loss_and_size),
    ("half precision is storage", half_precision_is_storage),
    ("learns circles", learns_circles),
    ("resumes to the bit", resumes_to_the_bit),
    ("activations of any number", activations_of_any_number),
    ("diverges with an error", diverges_with_an_error),
    ("stops early and when told", stops_early_and_when_told),
    ("bad input", bad_input),
];

pub(crate) fn trials(adapters: &[AdapterDescription]) -> Vec<Trial> {
    let mut trials = vec![Trial::test("[cpu] finite differences in f64", finite_differences)];
    trials.extend(on_cpu(TESTS));
    for adapter in adapters {
        let (index, label) = (adapter.index, label(adapter));
        trials.extend(on_adapter(adapter, TESTS));
        trials.push(Trial::test(format!("[{label}] beyond a binding"), move || beyond_a_binding(index)));
        trials.push(Trial::test(format!("[{label}] rows of several workgroups: every loss and size"), move || {
            every_loss_and_size(&open(index, |options| {
                (options.lanes_per_row, options.workgroups_per_row) = (Some(256), Some(3));
            })?)
        }));
        for walk in ProductWalk::ALL.into_iter().filter(|walk| walk.runs_on(adapter)) {
            let test =
                move |run: fn(&Device) -> Outcome| run(&open(index, |options| options.product_walk = Some(walk))?);
            let of_walk = format!("[{label}] {walk:?}");
            trials.push(Trial::test(format!("{of_walk}: every loss and size"), move || test(every_loss_and_size)));
            trials.push(Trial::test(format!("{of_walk}: follows torch on images"), move || {
                test(follows_torch_on_images)
            }));
        }
    }
    trials
}
