//! Tensors that stay on the device.

use std::any::Any;
use std::sync::Arc;

use super::command::OwnedWindow;
use super::context::Gpu;
use super::pool::PooledBuffer;
use super::readback::elements;
use crate::data::device_tensor::{DeviceMemory, DeviceTensor, ElementType};
use crate::data::memory::reserved;
use crate::data::tensor::{Floats, Targets};
use crate::error::{Error, Input, Result, number};

impl ElementType {
    /// Bits per element.
    pub(in crate::gpu) fn bits(self) -> u64 {
        match self {
            ElementType::F32 | ElementType::I32 => 32,
            ElementType::F16 | ElementType::BF16 => 16,
            ElementType::I8 | ElementType::U8 => 8,
            ElementType::Bit => 1,
        }
    }

    pub(in crate::gpu) fn bytes(self, len: u64) -> u64 {
        (self.bits() * len).div_ceil(8)
    }

    /// The number of a score type in shaders/common/load.wgsl.
    pub(in crate::gpu) fn score_number(self) -> u8 {
        match self {
            ElementType::F16 => 1,
            ElementType::BF16 => 2,
            _ => 0,
        }
    }

    /// The number of a target type in shaders/common/load.wgsl.
    pub(in crate::gpu) fn target_number(self) -> u8 {
        match self {
            ElementType::F32 => 1,
            ElementType::I8 => 2,
            ElementType::U8 => 3,
            ElementType::Bit => 4,
            _ => 0,
        }
    }

    /// An element as text, for errors. Kernels widen integers to 32 bits.
    pub(in crate::gpu) fn text(self, bytes: [u8; 4]) -> String {
        match self {
            ElementType::F32 => number(f32::from_ne_bytes(bytes)),
            _ => i32::from_ne_bytes(bytes).to_string(),
        }
    }
}

#[derive(Debug)]
struct TensorMemory {
    gpu: Gpu,
    storage: Storage,
    /// Bytes before the first element.
    offset: u64,
}

impl DeviceMemory for TensorMemory {
    fn device_name(&self) -> &str {
        self.gpu.name()
    }

    fn read_f32(&self, tensor: &DeviceTensor) -> Result<Vec<f32>> {
        pollster::block_on(tensor.read_f32_async())
    }
}

#[derive(Debug)]
enum Storage {
    Pooled(PooledBuffer),
    Foreign(wgpu::Buffer),
    /// No elements, so no buffer.
    Empty,
}

/// Bytes of the `vec4<u32>` that shaders/common/loads_in_quads.wgsl loads.
pub(in crate::gpu) const QUAD_BYTES: u64 = 16;

/// Part of a tensor as a kernel binds it. Bindings start at aligned offsets, so the first element may come later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    pub(in crate::gpu) buffer: &'a wgpu::Buffer,
    pub(in crate::gpu) offset: u64,
    pub(in crate::gpu) bytes: u64,
    /// Elements between the start of the binding and the first element wanted.
    pub(in crate::gpu) shift: u32,
}

impl<'a> Window<'a> {
    pub(in crate::gpu) fn whole(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer, offset: 0, bytes: buffer.size(), shift: 0 }
    }

    /// The binding without the shift.
    pub(in crate::gpu) fn owned(self) -> OwnedWindow {
        (self.buffer.clone(), self.offset, self.bytes)
    }
}

impl DeviceTensor {
    fn tensor_memory(&self) -> &TensorMemory {
        let memory: &dyn Any = &*self.memory;
        match memory.downcast_ref() {
            Some(memory) => memory,
            // No other kind of memory exists.
            None => unreachable!("a tensor of another backend"),
        }
    }

    /// The device that the tensor lives on.
    pub fn gpu(&self) -> &Gpu {
        &self.tensor_memory().gpu
    }

    /// The buffer, and the byte at which the tensor starts in it, for a caller's own kernels; `None` if it is empty.
    pub fn buffer(&self) -> Option<(&wgpu::Buffer, u64)> {
        let memory = self.tensor_memory();
        let buffer = match &memory.storage {
            Storage::Pooled(pooled) => &pooled.buffer,
            Storage::Foreign(buffer) => buffer,
            Storage::Empty => return None,
        };
        Some((buffer, memory.offset))
    }

    /// As [`DeviceTensor::read_f32`], without blocking.
    ///
    /// # Errors
    /// As [`DeviceTensor::read_f32`].
    pub async fn read_f32_async(&self) -> Result<Vec<f32>> {
        let mut all = Vec::with_capacity(self.len);
        self.read_with(|read| all.extend_from_slice(read)).await?;
        Ok(all)
    }

    /// Calls `take` with the elements on the host.
    pub(in crate::gpu) async fn read_with(&self, take: impl FnOnce(&[f32])) -> Result<()> {
        self.expect_type(Input::Scores, &[ElementType::F32], "f32")?;
        let Some((buffer, offset)) = self.buffer() else { return Ok(()) };
        self.gpu().read_with(buffer, offset, 4 * self.len as u64, |bytes| take(&elements(bytes))).await
    }

    pub(in crate::gpu) fn expect_type(&self, input: Input, types: &[ElementType], names: &'static str) -> Result<()> {
        if types.contains(&self.element) {
            return Ok(());
        }
        Err(Error::ElementType { input, expected: names, got: self.element.name() })
    }

    /// The same memory as elements of another 32-bit type.
    pub(in crate::gpu) fn reinterpreted(self, element: ElementType) -> Self {
        Self { element, ..self }
    }

    /// The elements `start..start + len`; `len` is not 0.
    pub(in crate::gpu) fn window(&self, start: usize, len: usize) -> Window<'_> {
        let Some((buffer, offset)) = self.buffer() else {
            return self.gpu().unused_input();
        };
        let alignment = self.gpu().storage_alignment().max(QUAD_BYTES);
        let bits = self.element.bits();
        let first = 8 * offset + bits * start as u64;
        let aligned = first / (8 * alignment) * alignment;
        let shift = (first - 8 * aligned) / bits;
        // Whole quads if the buffer has them, otherwise whole words.
        let bytes = (bits * (shift + len as u64)).div_ceil(8 * QUAD_BYTES) * QUAD_BYTES;
        Window { buffer, offset: aligned, bytes: bytes.min((buffer.size() - aligned) / 4 * 4), shift: shift as u32 }
    }
}

impl Gpu {
    /// Copies f32 elements to the device.
    ///
    /// # Errors
    /// If the device is out of memory, or its largest buffer is too small.
    pub fn upload_f32(&self, elements: &[f32]) -> Result<DeviceTensor> {
        pollster::block_on(self.upload_f32_async(elements))
    }

    /// As [`Gpu::upload_f32`], without blocking.
    ///
    /// # Errors
    /// As [`Gpu::upload_f32`].
    pub async fn upload_f32_async(&self, elements: &[f32]) -> Result<DeviceTensor> {
        self.upload(bytemuck::cast_slice(elements), elements.len(), ElementType::F32).await
    }

    /// Copies i32 elements (labels, class indices) to the device.
    ///
    /// # Errors
    /// As [`Gpu::upload_f32`].
    pub fn upload_i32(&self, elements: &[i32]) -> Result<DeviceTensor> {
        pollster::block_on(self.upload_i32_async(elements))
    }

    /// As [`Gpu::upload_i32`], without blocking.
    ///
    /// # Errors
    /// As [`Gpu::upload_f32`].
    pub async fn upload_i32_async(&self, elements: &[i32]) -> Result<DeviceTensor> {
        self.upload(bytemuck::cast_slice(elements), elements.len(), ElementType::I32).await
    }

    /// Copies scores of any host type to the device, in that type; f64 is rounded to f32.
    ///
    /// # Errors
    /// As [`Gpu::upload_f32`], and [`Error::ElementType`] for a tensor that is already on a device.
    pub fn upload_floats<'a>(&self, elements: impl Into<Floats<'a>>) -> Result<DeviceTensor> {
        pollster::block_on(self.upload_floats_async(elements.into()))
    }

    /// As [`Gpu::upload_floats`], without blocking.
    ///
    /// # Errors
    /// As [`Gpu::upload_floats`].
    pub async fn upload_floats_async(&self, elements: Floats<'_>) -> Result<DeviceTensor> {
        match elements {
            Floats::F32(x) => self.upload_f32_async(x).await,
            Floats::F64(x) => {
                let mut rounded = reserved(x.len())?;
                rounded.extend(x.iter().map(|&x| x as f32));
                self.upload_f32_async(&rounded).await
            }
            Floats::F16(x) => self.upload(bytemuck::cast_slice(x), x.len(), ElementType::F16).await,
            Floats::BF16(x) => self.upload(bytemuck::cast_slice(x), x.len(), ElementType::BF16).await,
            Floats::Device(_) => {
                let (expected, got) = ("host data", "a device tensor");
                Err(Error::ElementType { input: Input::Scores, expected, got })
            }
        }
    }

    /// Copies narrow labels to the device unchanged: i8, u8, booleans or bits.
    ///
    /// # Errors
    /// As [`Gpu::upload_f32`], and [`Error::ElementType`] for other types.
    pub fn upload_labels<'a>(&self, labels: impl Into<Targets<'a>>) -> Result<DeviceTensor> {
        pollster::block_on(self.upload_labels_async(labels.into()))
    }

    /// As [`Gpu::upload_labels`], without blocking.
    ///
    /// # Errors
    /// As [`Gpu::upload_labels`].
    pub async fn upload_labels_async(&self, labels: Targets<'_>) -> Result<DeviceTensor> {
        match labels {
            Targets::I8(x) => self.upload(bytemuck::cast_slice(x), x.len(), ElementType::I8).await,
            Targets::U8(x) => self.upload(x, x.len(), ElementType::U8).await,
            Targets::Bool(x) => self.upload(bytemuck::cast_slice(x), x.len(), ElementType::U8).await,
            Targets::Bits(bits) => match bits.words() {
                Some(words) => self.upload(bytemuck::cast_slice(words), bits.len(), ElementType::Bit).await,
                // A part of a batch that does not start at a word.
                None => self.upload(bytemuck::cast_slice(&bits.to_vec()), bits.len(), ElementType::U8).await,
            },
            _ => {
                let (expected, got) = ("i8, u8, bool or bits", "another type");
                Err(Error::ElementType { input: Input::Targets, expected, got })
            }
        }
    }

    async fn upload(&self, bytes: &[u8], len: usize, element: ElementType) -> Result<DeviceTensor> {
        use wgpu::BufferUsages as Usage;
        if len == 0 {
            return Ok(self.tensor(Storage::Empty, 0, 0, element));
        }
        let usage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
        // Kernels read whole words.
        let pooled = self.allocate(bytes.len().next_multiple_of(4) as u64, usage).await?;
        self.write(&pooled.buffer, bytes).await?;
        Ok(self.tensor(Storage::Pooled(pooled), 0, len, element))
    }

    /// Views part of a caller's own buffer of this device as a tensor. The caller keeps the buffer. An evaluation uses
    /// its content at the time of submission.
    ///
    /// # Errors
    /// [`Error::Shape`] if the part is not within the buffer or `offset` (bytes) is no multiple of 4; [`Error::Option`]
    /// if the buffer lacks the usage `STORAGE`. Reading back also needs `COPY_SRC`.
    pub fn wrap_buffer(
        &self,
        buffer: &wgpu::Buffer,
        offset: u64,
        len: usize,
        element: ElementType,
    ) -> Result<DeviceTensor> {
        if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            let got = buffer.usage().iter_names().map(|(name, _)| name).collect::<Vec<_>>().join(" | ");
            return Err(Error::Option { option: "buffer usage", expected: "STORAGE".into(), got });
        }
        // Kernels read whole words.
        let bytes = (len as u64).checked_mul(element.bits()).map(|bits| bits.div_ceil(32) * 4);
        let end = bytes.and_then(|bytes| bytes.checked_add(offset));
        if !offset.is_multiple_of(4) || end.is_none_or(|end| end > buffer.size()) {
            return Err(Error::Shape {
                input: Input::Scores,
                expected: format!("a part of the buffer's {} bytes that starts at a multiple of 4", buffer.size()),
                got: format!("{len} elements of type {} from byte {offset}", element.name()),
            });
        }
        Ok(self.tensor(Storage::Foreign(buffer.clone()), offset, len, element))
    }

    pub(in crate::gpu) async fn output_tensor(&self, len: usize) -> Result<DeviceTensor> {
        if len == 0 {
            return Ok(self.tensor(Storage::Empty, 0, 0, ElementType::F32));
        }
        let pooled = self.allocate_output(4 * len as u64).await?;
        Ok(self.tensor(Storage::Pooled(pooled), 0, len, ElementType::F32))
    }

    fn tensor(&self, storage: Storage, offset: u64, len: usize, element: ElementType) -> DeviceTensor {
        let memory = TensorMemory { gpu: self.clone(), storage, offset };
        DeviceTensor { memory: Arc::new(memory), len, element }
    }
}
