//! Every shader without a GPU: validated, translated to SPIR-V, MSL and HLSL, and its structs held against the host's.

use maxmargin::gpu::{
    Arithmetic, ElementwiseParams, GatherParams, KerasAccuracyParams, MemoryParams, MemoryProbe, NetworkKernel,
    OutputGradientParams, Partial, ProductParams, RowsParams, SegmentsParams, TargetRowsParams, UpdateParams, Variant,
    VectorsParams, WholeStepsParams, variants,
};
use maxmargin::loss::Pattern;
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

fn validate(module: &naga::Module) -> Result<ModuleInfo, String> {
    Validator::new(ValidationFlags::all(), Capabilities::SUBGROUP)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(module)
        .map_err(|error| format!("{:?}", error.into_inner()))
}

fn has_text_of(a: &Variant, b: &Variant) -> bool {
    (a.loss, a.arithmetic, a.loads, a.exchange) == (b.loss, b.arithmetic, b.loads, b.exchange)
}

/// The texts of all variants, each once.
fn sources() -> Vec<(String, Variant)> {
    let mut sources: Vec<(String, Variant)> = Vec::new();
    for variant in variants() {
        if !sources.iter().any(|(_, other)| has_text_of(other, &variant)) {
            sources.push((variant.source(), variant));
        }
    }
    sources
}

fn name(variant: &Variant) -> String {
    format!("{} {:?} {:?}", variant.loss.name, variant.arithmetic, variant.constants)
}

fn translate(source: &str, variant: &Variant) -> Result<(), String> {
    translate_with(source, variant.constants.named(variant.loss.pattern))
}

/// Validates and translates a kernel with its constants set, as the backends do.
fn translate_with(source: &str, constants: Vec<(&'static str, f64)>) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let info = validate(&module)?;
    let constants = constants.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let stage = Some((naga::ShaderStage::Compute, "main"));
    let (module, info) = naga::back::pipeline_constants::process_overrides(&module, &info, stage, &constants)
        .map_err(|error| format!("overrides: {error:?}"))?;
    let bounds = naga::proc::BoundsCheckPolicies::default();
    // What subgroups ask for: SPIR-V 1.3, Metal 2.4, shader model 6.
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

#[test]
fn every_shader_file_is_part_of_a_variant() {
    let mut found = 0;
    let sources = sources();
    let mut orphans = Vec::new();
    let mut kernels: Vec<String> = NetworkKernel::all().iter().map(NetworkKernel::source).collect();
    kernels.push(MemoryProbe::SOURCE.into());
    for folder in ["patterns", "loss", "common", "network", "probe"] {
        let folder = format!("{}/shaders/{folder}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            found += 1;
            if !sources.iter().map(|(source, _)| source).chain(&kernels).any(|source| source.contains(&text)) {
                orphans.push(path);
            }
        }
    }
    assert!(found >= 12, "only {found} shader files found");
    assert!(orphans.is_empty(), "in no variant: {orphans:?}");
    // In both arithmetics: with and without subgroups, word by word where that is not how it is done anyway, and rows of classes
    // out of workgroup memory.
    let texts = |pattern| match pattern {
        Pattern::Segments | Pattern::Ranked | Pattern::Vectors => 2 * 2,
        Pattern::Rows => 2 * 4,
        _ => 2 * 3,
    };
    assert_eq!(sources.len(), maxmargin::loss::SHADERS.iter().map(|shader| texts(shader.pattern)).sum::<usize>());
}

#[test]
fn every_variant_validates_and_translates() {
    let sources = sources();
    let all = variants();
    assert!(all.len() > 1000, "only {} variants", all.len());
    let mut failures = Vec::new();
    for variant in &all {
        let (source, _) = sources.iter().find(|(_, v)| has_text_of(v, variant)).expect("a text for each variant");
        if let Err(error) = translate(source, variant) {
            failures.push(format!("{}: {error}", name(variant)));
        }
    }
    assert!(failures.is_empty(), "{} of {} fail, first: {}", failures.len(), all.len(), failures[0]);
}

#[test]
fn a_broken_shader_fails_the_validation() {
    let (source, variant) = sources().swap_remove(0);
    let broken = source.replace("let merged = workgroup_merge(lane, partial);", "let merged = partial.count;");
    assert_ne!(broken, source);
    assert_eq!(translate(&source, &variant), Ok(()));
    assert!(translate(&broken, &variant).is_err());
}

#[test]
fn host_structs_match_the_shaders() {
    let mut checked = 0;
    for (source, variant) in sources() {
        let module = naga::front::wgsl::parse_str(&source).unwrap();
        let (params, size) = match variant.loss.pattern {
            Pattern::Elementwise => (ElementwiseParams::MEMBERS, size_of::<ElementwiseParams>()),
            Pattern::Rows => (RowsParams::MEMBERS, size_of::<RowsParams>()),
            Pattern::Vectors => (VectorsParams::MEMBERS, size_of::<VectorsParams>()),
            Pattern::Segments | Pattern::Ranked => (SegmentsParams::MEMBERS, size_of::<SegmentsParams>()),
            Pattern::TargetRows => (TargetRowsParams::MEMBERS, size_of::<TargetRowsParams>()),
            other => panic!("no host struct for {other:?}"),
        };
        check_struct(&module, variant.loss.name, "Params", params, size, false).unwrap();
        check_struct(&module, variant.loss.name, "Partial", Partial::MEMBERS, size_of::<Partial>(), true).unwrap();
        checked += 2;
    }
    assert_eq!(checked, 2 * sources().len());
}

/// The members of a WGSL struct, and that the host's is as long, or longer where the end is padding.
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
    // Uniforms come in sixteens.
    let fits = if exact { size == span } else { size >= span && size.is_multiple_of(16) };
    if wgsl == members && fits {
        return Ok(());
    }
    Err(format!("{name} of {shader}: {wgsl:?} of {span} bytes, but {members:?} of {size}"))
}

#[test]
fn every_kernel_of_training_validates_and_translates() {
    let kernels = NetworkKernel::all();
    assert!(kernels.len() > 20, "only {} kernels", kernels.len());
    for kernel in kernels {
        let source = kernel.source();
        assert_eq!(translate_with(&source, kernel.constants()), Ok(()), "{kernel:?}");
        let module = naga::front::wgsl::parse_str(&source).unwrap();
        let (members, size) = match kernel {
            NetworkKernel::Gather { .. } => (GatherParams::MEMBERS, size_of::<GatherParams>()),
            NetworkKernel::Product { .. } => (ProductParams::MEMBERS, size_of::<ProductParams>()),
            NetworkKernel::OutputGradient { .. } => (OutputGradientParams::MEMBERS, size_of::<OutputGradientParams>()),
            NetworkKernel::Update { .. } => (UpdateParams::MEMBERS, size_of::<UpdateParams>()),
            NetworkKernel::WholeSteps { .. } => (WholeStepsParams::MEMBERS, size_of::<WholeStepsParams>()),
            NetworkKernel::KerasAccuracy => (KerasAccuracyParams::MEMBERS, size_of::<KerasAccuracyParams>()),
        };
        check_struct(&module, kernel.name(), "Params", members, size, false).unwrap();
    }
    let source = NetworkKernel::KerasAccuracy.source();
    assert!(translate_with(&source.replace("var own = 0u;", "var own = 0.5;"), vec![]).is_err());
}

#[test]
fn the_probe_of_memory_validates_and_translates() {
    assert_eq!(translate_with(MemoryProbe::SOURCE, vec![]), Ok(()));
    let module = naga::front::wgsl::parse_str(MemoryProbe::SOURCE).unwrap();
    check_struct(&module, "memory", "Params", MemoryParams::MEMBERS, size_of::<MemoryParams>(), false).unwrap();
}

#[test]
fn workgroup_memory_is_what_the_host_says() {
    for (source, variant) in sources() {
        let module = naga::front::wgsl::parse_str(&source).unwrap();
        let workgroup = module.global_variables.iter().filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup);
        let bytes: u64 = workgroup.map(|(_, v)| u64::from(module.types[v.ty].inner.size(module.to_ctx()))).sum();
        assert_eq!(bytes, variant.workgroup_bytes(), "{}", variant.loss.name);
    }
}

#[test]
fn both_arithmetics_are_listed() {
    for arithmetic in [Arithmetic::Finite, Arithmetic::Extended] {
        assert!(variants().iter().any(|v| v.arithmetic == arithmetic));
    }
}
