//! Every shader without a GPU: validated, translated to SPIR-V, MSL and HLSL, and its structs compared with the host's.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::OnceLock;

use libtest_mimic::Trial;
use maxmargin::gpu::{
    Arithmetic, Exchange, LinearKernel, Loads, MemoryProbe, NetworkKernel, ParamsLayout, Partial, Variant, variants,
};
use maxmargin::loss::{LossShader, Pattern, SHADERS};
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

use crate::harness::{Outcome, failures, goes_through_all};

fn validate(module: &naga::Module) -> Result<ModuleInfo, String> {
    Validator::new(ValidationFlags::all(), Capabilities::SUBGROUP)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(module)
        .map_err(|error| format!("{:?}", error.into_inner()))
}

/// Variants with equal values of these have the same text.
type Text = (LossShader, Arithmetic, Loads, Exchange);

fn text_of(variant: &Variant) -> Text {
    (variant.loss, variant.arithmetic, variant.loads, variant.exchange)
}

/// A text, parsed and validated once, and a variant that uses it.
struct Parsed {
    source: String,
    module: Result<(naga::Module, ModuleInfo), String>,
    variant: Variant,
}

fn parse(source: &str) -> Result<(naga::Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let info = validate(&module)?;
    Ok((module, info))
}

fn sources() -> &'static HashMap<Text, Parsed> {
    static SOURCES: OnceLock<HashMap<Text, Parsed>> = OnceLock::new();
    SOURCES.get_or_init(|| {
        let mut sources = HashMap::new();
        for variant in all_variants() {
            sources.entry(text_of(variant)).or_insert_with(|| {
                let source = variant.source();
                Parsed { module: parse(&source), source, variant: variant.clone() }
            });
        }
        sources
    })
}

fn all_variants() -> &'static [Variant] {
    static VARIANTS: OnceLock<Vec<Variant>> = OnceLock::new();
    VARIANTS.get_or_init(variants)
}

fn name(variant: &Variant) -> String {
    format!("{} {:?} {:?}", variant.loss.name, variant.arithmetic, variant.constants)
}

fn translate(source: &str, constants: Vec<(&'static str, f64)>) -> Result<(), String> {
    translate_parsed(&parse(source)?, constants)
}

/// Translates a kernel with its constants set, as the backends do.
fn translate_parsed(
    (module, info): &(naga::Module, ModuleInfo),
    constants: Vec<(&'static str, f64)>,
) -> Result<(), String> {
    let constants = constants.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let stage = Some((naga::ShaderStage::Compute, "main"));
    let (module, info) = naga::back::pipeline_constants::process_overrides(module, info, stage, &constants)
        .map_err(|error| format!("overrides: {error:?}"))?;
    let bounds = naga::proc::BoundsCheckPolicies::default();
    // Subgroups need SPIR-V 1.3, Metal 2.4 and shader model 6.
    let options = spv::Options { lang_version: (1, 3), ..Default::default() };
    spv::write_vec(&module, &info, &options, None).map_err(|error| format!("SPIR-V: {error}"))?;
    let options = msl::Options {
        lang_version: (2, 4),
        fake_missing_bindings: true,
        bounds_check_policies: bounds,
        ..Default::default()
    };
    msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
        .map_err(|error| format!("MSL: {error}"))?;
    let shader_model = hlsl::ShaderModel::V6_0;
    let options = hlsl::Options { shader_model, fake_missing_bindings: true, ..Default::default() };
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
        .write(&module, &info, None)
        .map_err(|error| format!("HLSL: {error}"))?;
    if text.is_empty() { Err("HLSL: nothing written".into()) } else { Ok(()) }
}

pub(crate) fn trials() -> Vec<Trial> {
    type Test = fn() -> Outcome;
    let tests: [(&str, Test); 10] = [
        ("every file is part of a variant", every_file_is_part_of_a_variant),
        ("every variant validates and translates", every_variant_validates_and_translates),
        ("a broken shader fails the validation", a_broken_shader_fails),
        ("host structs match the shaders", host_structs_match),
        ("every kernel of training validates and translates", every_kernel_of_training),
        ("every kernel of linear models validates and translates", every_kernel_of_linear_models),
        ("the probe of memory validates and translates", the_probe_of_memory),
        ("workgroup memory is what the host says", workgroup_memory),
        ("both arithmetics are listed", both_arithmetics_are_listed),
        ("no open builtin sees NaN", no_open_builtin_sees_nan),
    ];
    tests.map(|(name, test)| Trial::test(name, test)).into()
}

fn every_file_is_part_of_a_variant() -> Outcome {
    let sources = sources();
    let mut texts: Vec<String> = NetworkKernel::all().iter().map(NetworkKernel::source).collect();
    texts.extend(LinearKernel::all().iter().map(LinearKernel::source));
    texts.push(MemoryProbe::source());
    texts.extend(sources.values().map(|parsed| parsed.source.clone()));
    let (mut losses, mut orphans) = (BTreeSet::new(), Vec::new());
    for folder in ["patterns", "loss", "common", "network", "linear", "probe"] {
        for entry in std::fs::read_dir(format!("{}/shaders/{folder}", env!("CARGO_MANIFEST_DIR")))? {
            let path = entry?.path();
            let text = std::fs::read_to_string(&path)?;
            if folder == "loss" {
                losses.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
            }
            if !texts.iter().any(|source| source.contains(&text)) {
                orphans.push(path);
            }
        }
    }
    let listed: BTreeSet<String> = SHADERS.iter().map(|shader| shader.name.into()).collect();
    assert_eq!(losses, listed, "files of shaders/loss, and SHADERS");
    assert!(orphans.is_empty(), "in no variant: {orphans:?}");
    // In both arithmetics: with and without subgroups; also word by word, unless the pattern always works that way; and
    // rows of classes in workgroup memory.
    let of_pattern = |pattern| match pattern {
        Pattern::Segments | Pattern::Ranked | Pattern::Vectors => 2 * 2,
        Pattern::Rows => 2 * 4,
        _ => 2 * 3,
    };
    assert_eq!(sources.len(), SHADERS.iter().map(|shader| of_pattern(shader.pattern)).sum::<usize>());
    Ok(())
}

/// Translates the first variant of each text and every eleventh variant. Options repeat in powers of two, so every
/// eleventh meets each of them. `MAXMARGIN_TESTS=all` translates all.
const SAMPLED: usize = 11;

fn every_variant_validates_and_translates() -> Outcome {
    let all = all_variants();
    assert!(all.len() > 1000, "only {} variants", all.len());
    let step = if goes_through_all() { 1 } else { SAMPLED };
    let mut texts = HashSet::new();
    let is_chosen = |&(index, variant): &(usize, &Variant)| texts.insert(text_of(variant)) || index % step == 0;
    let chosen: Vec<&Variant> = all.iter().enumerate().filter(is_chosen).map(|(_, variant)| variant).collect();
    assert_eq!(texts.len(), sources().len());
    let failures = failures(&chosen, |variant| {
        let parsed = sources().get(&text_of(variant)).ok_or("no text")?;
        let module = parsed.module.as_ref().map_err(String::clone)?;
        translate_parsed(module, variant.constants.named(variant.loss.pattern))
            .map_err(|error| format!("{}: {error}", name(variant)))
    });
    assert!(failures.is_empty(), "{} of {} fail, first: {}", failures.len(), chosen.len(), failures[0]);
    Ok(())
}

fn a_broken_shader_fails() -> Outcome {
    let Some(Parsed { source, variant, .. }) = sources().values().next() else { return Err("no text".into()) };
    let broken = source.replace("let merged = workgroup_merge(lane, partial);", "let merged = partial.count;");
    let constants = || variant.constants.named(variant.loss.pattern);
    assert_ne!(&broken, source);
    assert_eq!(translate(source, constants()), Ok(()));
    assert!(translate(&broken, constants()).is_err());
    Ok(())
}

fn host_structs_match() -> Outcome {
    for Parsed { module, variant, .. } in sources().values() {
        let (module, _) = module.as_ref().map_err(String::clone)?;
        check_params(module, variant.loss.name, variant.params())?;
        check_struct(module, variant.loss.name, "Partial", Partial::MEMBERS, size_of::<Partial>(), true)?;
    }
    // The check must notice a member that has moved.
    let Some(Parsed { module: Ok((module, _)), variant, .. }) = sources().values().next() else {
        return Err("no module".into());
    };
    let mut moved = Partial::MEMBERS.to_vec();
    moved[1].1 += 4;
    assert!(check_struct(module, variant.loss.name, "Partial", &moved, size_of::<Partial>(), true).is_err());
    Ok(())
}

/// Like [`check_struct`], for the parameters of a kernel.
fn check_params(module: &naga::Module, shader: &str, params: ParamsLayout) -> Result<(), String> {
    let members: Vec<_> = params.members.iter().map(|member| (member.name, member.offset)).collect();
    check_struct(module, shader, "Params", &members, params.size, false)
}

/// Checks the members of a WGSL struct, and that the host's struct is as long, or longer by padding at the end.
fn check_struct(
    module: &naga::Module,
    shader: &str,
    name: &str,
    members: &[(&str, usize)],
    size: usize,
    exact: bool,
) -> Result<(), String> {
    let found = module.types.iter().find(|(_, t)| t.name.as_deref() == Some(name));
    let Some((_, naga::Type { inner: naga::TypeInner::Struct { members: wgsl, span }, .. })) = found else {
        return Err(format!("{shader}: no struct {name}"));
    };
    let wgsl: Vec<_> = wgsl.iter().map(|m| (m.name.as_deref().unwrap_or(""), m.offset as usize)).collect();
    let span = *span as usize;
    // The size of a uniform is a multiple of sixteen.
    let fits = if exact { size == span } else { size >= span && size.is_multiple_of(16) };
    if wgsl == members && fits {
        return Ok(());
    }
    Err(format!("{name} of {shader}: {wgsl:?} of {span} bytes, but {members:?} of {size}"))
}

/// A kernel that is no variant of a loss.
struct OtherKernel {
    name: &'static str,
    source: String,
    constants: Vec<(&'static str, f64)>,
    params: ParamsLayout,
}

/// Validates and translates kernels. With `good` replaced by `bad`, the first one that has it must fail.
fn validate_others(kernels: &[OtherKernel], good: &str, bad: &str) -> Outcome {
    assert!(kernels.len() > 20, "only {} kernels", kernels.len());
    let failures = failures(kernels, |kernel| {
        let parsed = parse(&kernel.source)?;
        let OtherKernel { name, constants, params, .. } = kernel;
        translate_parsed(&parsed, constants.clone()).map_err(|error| format!("{name} {constants:?}: {error}"))?;
        check_params(&parsed.0, name, *params)
    });
    assert!(failures.is_empty(), "{} of {} fail, first: {}", failures.len(), kernels.len(), failures[0]);
    let source = kernels.iter().map(|kernel| &kernel.source).find(|source| source.contains(good));
    assert!(translate(&source.ok_or("no kernel to break")?.replace(good, bad), vec![]).is_err());
    Ok(())
}

fn every_kernel_of_training() -> Outcome {
    let of = |kernel: NetworkKernel| {
        let (source, constants, params) = (kernel.source(), kernel.constants(), kernel.params());
        OtherKernel { name: kernel.name(), source, constants, params }
    };
    let kernels: Vec<OtherKernel> = NetworkKernel::all().into_iter().map(of).collect();
    validate_others(&kernels, "var own = 0u;", "var own = 0.5;")
}

fn every_kernel_of_linear_models() -> Outcome {
    let of = |kernel: LinearKernel| {
        let (source, constants, params) = (kernel.source(), kernel.constants(), kernel.params());
        OtherKernel { name: kernel.name(), source, constants, params }
    };
    let kernels: Vec<OtherKernel> = LinearKernel::all().into_iter().map(of).collect();
    validate_others(&kernels, "var own = Sums();", "var own = 0.5;")
}

fn the_probe_of_memory() -> Outcome {
    let parsed = parse(&MemoryProbe::source())?;
    translate_parsed(&parsed, vec![])?;
    check_params(&parsed.0, "memory", MemoryProbe::PARAMS)?;
    Ok(())
}

fn workgroup_memory() -> Outcome {
    for Parsed { module, variant, .. } in sources().values() {
        let (module, _) = module.as_ref().map_err(String::clone)?;
        let workgroup = module.global_variables.iter().filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup);
        let bytes: u64 = workgroup.map(|(_, v)| u64::from(module.types[v.ty].inner.size(module.to_ctx()))).sum();
        assert_eq!(bytes, variant.workgroup_bytes(), "{}", variant.loss.name);
    }
    Ok(())
}

fn both_arithmetics_are_listed() -> Outcome {
    for arithmetic in [Arithmetic::Finite, Arithmetic::Extended] {
        assert!(all_variants().iter().any(|v| v.arithmetic == arithmetic));
    }
    Ok(())
}

/// Functions that may use a builtin whose result on NaN is open, and why none reaches it there.
const GUARDED: [(&str, &str); 9] = [
    ("clipped", "a solver's violation: whatever it becomes, the CPU certifies the solution from the features"),
    ("three_max", "magnitudes of vectors, where NaN is a flag"),
    ("scale", "the largest magnitude, where NaN is a flag"),
    ("root", "a sum over finite components"),
    ("norm_slope", "a finite component"),
    ("softplus", "penalise returns NaN before"),
    ("steps_of_row", "a number of loop steps"),
    ("logistic", "activate returns NaN before"),
    ("tangent", "activate returns NaN before"),
];

/// The functions of a module that apply a builtin to floats which may answer NaN with any number.
fn open_builtins((module, info): &(naga::Module, ModuleInfo)) -> BTreeSet<String> {
    use naga::MathFunction::{Clamp, Max, Min, Saturate, Sign, SmoothStep, Step};
    let is_open = |function: &naga::Function, info: &naga::valid::FunctionInfo| {
        function.expressions.iter().any(|(handle, expression)| {
            let naga::Expression::Math { fun, .. } = expression else { return false };
            matches!(fun, Clamp | Max | Min | Saturate | Sign | SmoothStep | Step)
                && info[handle].ty.inner_with(&module.types).scalar_kind() == Some(naga::ScalarKind::Float)
        })
    };
    let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
    let entries = module.entry_points.iter().enumerate();
    let all = functions.chain(entries.map(|(index, entry)| (&entry.function, info.get_entry_point(index))));
    let found = all.filter(|(function, info)| is_open(function, info));
    found.map(|(function, _)| function.name.clone().unwrap_or_default()).collect()
}

fn no_open_builtin_sees_nan() -> Outcome {
    let mut found = BTreeSet::new();
    for parsed in sources().values() {
        found.append(&mut open_builtins(parsed.module.as_ref().map_err(String::clone)?));
    }
    let of_training = NetworkKernel::all().into_iter().map(|kernel| kernel.source());
    let of_models = LinearKernel::all().into_iter().map(|kernel| kernel.source());
    for source in of_training.chain(of_models) {
        found.append(&mut open_builtins(&parse(&source)?));
    }
    let guarded: BTreeSet<String> = GUARDED.map(|(name, _)| name.into()).into();
    assert_eq!(found, guarded, "functions with such builtins, and those known to be guarded");
    let careless =
        "@compute @workgroup_size(1) fn careless() { var x = 1.0; x = clamp(x, 0.0, x); var i = max(2, 1); }";
    assert_eq!(open_builtins(&parse(careless)?), BTreeSet::from(["careless".into()]));
    Ok(())
}
