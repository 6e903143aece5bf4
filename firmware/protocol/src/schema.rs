//! The hash by which host and firmware know that they mean the same messages.

/// CRC-32 of a text with the encoding of a message of each kind. A host compares it with the device's before anything
/// else is said.
pub const SCHEMA: u32 = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(MESSAGES.as_bytes());

/// One message of each kind with the bytes that it becomes. A test makes this text anew and compares, so whoever changes
/// a message changes the text, and with it the hash.
const MESSAGES: &str = r#"Header { version: 1, sequence: 300 }: 01 ac 02
Info: 00
Write { buffer: Model, offset: 300, bytes: [7, 0] }: 01 00 ac 02 02 07 00
Write { buffer: Input, offset: 300, bytes: [7, 0] }: 01 01 ac 02 02 07 00
Write { buffer: Target, offset: 300, bytes: [7, 0] }: 01 02 ac 02 02 07 00
Read { buffer: Output, offset: 300, length: 4096 }: 02 03 ac 02 80 20
Read { buffer: Parameters, offset: 0, length: 1 }: 02 04 00 01
Load { length: 70000 }: 03 f0 a2 04
Run(Reconstruct): 04 00
Run(Encode): 04 01
Run(Decode): 04 02
TrainStart(Options { loss: MeanSquaredError, penalties: [], optimizer: Adam { learning_rate: 0.5, beta_1: 0.75, beta_2: 0.875, epsilon: 0.25 }, mode: Accumulate { batch: 300 }, first_trainable: 1, math: Exact }): 05 00 00 00 00 00 00 00 00 e0 3f 00 00 00 00 00 00 e8 3f 00 00 00 00 00 00 ec 3f 00 00 00 00 00 00 d0 3f 00 ac 02 01 00
TrainStart(Options { loss: HalfSquaredError, penalties: [], optimizer: Sgd { learning_rate: 0.5, momentum: 0.0 }, mode: Fused, first_trainable: 1, math: Fast }): 05 01 01 00 00 00 00 00 00 e0 3f 00 00 00 00 00 00 00 00 01 01 01
TrainStart(Options { loss: BinaryCrossEntropy, penalties: [], optimizer: Sgd { learning_rate: 0.5, momentum: 0.0 }, mode: Fused, first_trainable: 1, math: Fast }): 05 02 01 00 00 00 00 00 00 e0 3f 00 00 00 00 00 00 00 00 01 01 01
TrainStart(Options { loss: CategoricalCrossEntropy, penalties: [], optimizer: Sgd { learning_rate: 0.5, momentum: 0.0 }, mode: Fused, first_trainable: 1, math: Fast }): 05 03 01 00 00 00 00 00 00 e0 3f 00 00 00 00 00 00 00 00 01 01 01
Train: 06
Apply: 07
Refused(Version { device: 1 }): 00 00 01
Refused(Damaged): 00 01
Refused(TooLong { limit: 300 }): 00 02 ac 02
Refused(NotARequest): 00 03
Refused(NoModel): 00 04
Refused(NoTraining): 00 05
Refused(NotWritten(Output)): 00 06 03
Refused(NotRead(Target)): 00 07 02
Refused(Range { buffer: Input, end: 300, available: 200 }): 00 08 01 ac 02 c8 01
Refused(Core([7, 0])): 00 09 02 07 00
Refused(AnswerTooLong { limit: 300 }): 00 0a ac 02
Done { ticks: 300 }: 01 ac 02
Bytes([7, 0]): 02 02 07 00
Info(Info { schema: 1, board: "b", firmware: "f", piece: 2, ticks_per_second: 300, memory: 400, model: None }): 03 01 01 62 01 66 02 ac 02 90 03 00
Info(Info { schema: 1, board: "b", firmware: "f", piece: 2, ticks_per_second: 300, memory: 400, model: Some(ModelInfo { name: "m", input: 1, code: 2, output: 3, parameters: 400, blob_bytes: 500, inference_bytes: 600, training_bytes: 700 }) }): 03 01 01 62 01 66 02 ac 02 90 03 01 01 6d 01 02 03 90 03 f4 03 d8 04 bc 05
Loss { loss: 0.5, ticks: 300 }: 04 00 00 00 00 00 00 e0 3f ac 02
BufferTooSmall { what: "w", needed: 500, given: 400 }: 00 01 77 f4 03 90 03
Misaligned { what: "w", alignment: 16 }: 01 01 77 10
Length { what: "w", expected: 500, given: 400 }: 02 01 77 f4 03 90 03
Layer { index: 300, kind: "k", problem: NeedsFlat { input: Picture { height: 28, width: 27, channels: 1 } } }: 03 ac 02 01 6b 00 01 1c 1b 01
Input { shape: Picture { height: 28, width: 27, channels: 1 } }: 04 01 1c 1b 01
LayerCount { limit: 32, given: 400 }: 05 20 90 03
Code { layers: 5, given: 400 }: 06 05 90 03
Layers { start: 1, end: 300, layers: 5 }: 07 01 ac 02 05
TooManyParameters { limit: 500 }: 08 f4 03
NotFinite { what: "w", index: 300 }: 09 01 77 ac 02
Setting { key: "k", expected: "e", given: 0.5 }: 0a 01 6b 01 65 00 00 00 3f
Penalty { layer: 300, problem: "p" }: 0b ac 02 01 70
Mode { reason: "r" }: 0c 01 72
Blob(Checksum { expected: 1, found: 300 }): 0d 04 01 ac 02
"#;

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Write as _};

    use narrows_core::blob::BlobProblem;
    use narrows_core::error::Error;
    use narrows_core::layer::LayerProblem;
    use narrows_core::loss::Loss;
    use narrows_core::math::Math;
    use narrows_core::optimizer::Optimizer;
    use narrows_core::shape::Shape;
    use narrows_core::training::{Mode, Options};
    use serde::Serialize;

    use crate::message::{Answer, Buffer, Header, Info, ModelInfo, Part, Refusal, Request};

    fn line(message: &(impl Serialize + Debug)) -> String {
        let mut buffer = [0; 256];
        let bytes = postcard::to_slice(message, &mut buffer).unwrap();
        let mut line = format!("{message:?}:");
        for byte in bytes {
            write!(line, " {byte:02x}").unwrap();
        }
        line
    }

    fn requests() -> Vec<String> {
        let write = |buffer| Request::Write {
            buffer,
            offset: 300,
            bytes: &[7, 0],
        };
        let adam = Optimizer::Adam {
            learning_rate: 0.5,
            beta_1: 0.75,
            beta_2: 0.875,
            epsilon: 0.25,
        };
        let sgd = Optimizer::Sgd {
            learning_rate: 0.5,
            momentum: 0.0,
        };
        let start = |loss, optimizer, mode, math| {
            Request::TrainStart(Options {
                loss,
                optimizer,
                mode,
                first_trainable: 1,
                math,
                penalties: &[],
            })
        };
        let requests = [
            Request::Info,
            write(Buffer::Model),
            write(Buffer::Input),
            write(Buffer::Target),
            Request::Read {
                buffer: Buffer::Output,
                offset: 300,
                length: 4096,
            },
            Request::Read {
                buffer: Buffer::Parameters,
                offset: 0,
                length: 1,
            },
            Request::Load { length: 70_000 },
            Request::Run(Part::Reconstruct),
            Request::Run(Part::Encode),
            Request::Run(Part::Decode),
            start(
                Loss::MeanSquaredError,
                adam,
                Mode::Accumulate { batch: 300 },
                Math::Exact,
            ),
            start(Loss::HalfSquaredError, sgd, Mode::Fused, Math::Fast),
            start(Loss::BinaryCrossEntropy, sgd, Mode::Fused, Math::Fast),
            start(Loss::CategoricalCrossEntropy, sgd, Mode::Fused, Math::Fast),
            Request::Train,
            Request::Apply,
        ];
        requests.iter().map(line).collect()
    }

    fn answers() -> Vec<String> {
        let model = ModelInfo {
            name: "m",
            input: 1,
            code: 2,
            output: 3,
            parameters: 400,
            blob_bytes: 500,
            inference_bytes: 600,
            training_bytes: 700,
        };
        let info = |model| {
            let (schema, piece, ticks_per_second, memory) = (1, 2, 300, 400);
            Answer::Info(Info {
                schema,
                board: "b",
                firmware: "f",
                piece,
                ticks_per_second,
                memory,
                model,
            })
        };
        let answers = [
            Answer::Refused(Refusal::Version { device: 1 }),
            Answer::Refused(Refusal::Damaged),
            Answer::Refused(Refusal::TooLong { limit: 300 }),
            Answer::Refused(Refusal::NotARequest),
            Answer::Refused(Refusal::NoModel),
            Answer::Refused(Refusal::NoTraining),
            Answer::Refused(Refusal::NotWritten(Buffer::Output)),
            Answer::Refused(Refusal::NotRead(Buffer::Target)),
            Answer::Refused(Refusal::Range {
                buffer: Buffer::Input,
                end: 300,
                available: 200,
            }),
            Answer::Refused(Refusal::Core(&[7, 0])),
            Answer::Refused(Refusal::AnswerTooLong { limit: 300 }),
            Answer::Done { ticks: 300 },
            Answer::Bytes(&[7, 0]),
            info(None),
            info(Some(model)),
            Answer::Loss {
                loss: 0.5,
                ticks: 300,
            },
        ];
        answers.iter().map(line).collect()
    }

    /// What core's errors become within [`Refusal::Core`].
    fn errors() -> Vec<String> {
        let (index, given) = (300, 400);
        let shape = Shape::picture(28, 27, 1);
        let problem = LayerProblem::NeedsFlat { input: shape };
        let errors = [
            Error::BufferTooSmall {
                what: "w",
                needed: 500,
                given,
            },
            Error::Misaligned {
                what: "w",
                alignment: 16,
            },
            Error::Length {
                what: "w",
                expected: 500,
                given,
            },
            Error::Layer {
                index,
                kind: "k",
                problem,
            },
            Error::Input { shape },
            Error::LayerCount { limit: 32, given },
            Error::Code { layers: 5, given },
            Error::Layers {
                start: 1,
                end: 300,
                layers: 5,
            },
            Error::TooManyParameters { limit: 500 },
            Error::NotFinite { what: "w", index },
            Error::Setting {
                key: "k",
                expected: "e",
                given: 0.5,
            },
            Error::Penalty {
                layer: 300,
                problem: "p",
            },
            Error::Mode { reason: "r" },
            Error::Blob(BlobProblem::Checksum {
                expected: 1,
                found: 300,
            }),
        ];
        errors.iter().map(line).collect()
    }

    /// Leads whoever adds a message to this file: it belongs into the lists above.
    #[allow(dead_code, reason = "it is only compiled")]
    fn all_messages(request: Request<'_>, answer: Answer<'_>) {
        match request {
            Request::Info | Request::Write { .. } | Request::Read { .. } | Request::Load { .. } => {
            }
            Request::Run(Part::Reconstruct | Part::Encode | Part::Decode) => {}
            Request::TrainStart(_) | Request::Train | Request::Apply => {}
        }
        match answer {
            Answer::Done { .. } | Answer::Bytes(_) | Answer::Info(_) | Answer::Loss { .. } => {}
            Answer::Refused(refusal) => match refusal {
                Refusal::Version { .. } | Refusal::Damaged | Refusal::TooLong { .. } => {}
                Refusal::NotARequest | Refusal::NoModel | Refusal::NoTraining => {}
                Refusal::NotWritten(buffer)
                | Refusal::NotRead(buffer)
                | Refusal::Range { buffer, .. } => match buffer {
                    Buffer::Model | Buffer::Input | Buffer::Target => {}
                    Buffer::Output | Buffer::Parameters => {}
                },
                Refusal::Core(_) | Refusal::AnswerTooLong { .. } => {}
            },
        }
    }

    #[test]
    fn the_encodings_of_all_messages_are_those_written_down() {
        let mut lines = vec![line(&Header {
            version: 1,
            sequence: 300,
        })];
        lines.extend(requests());
        lines.extend(answers());
        lines.extend(errors());
        let now = lines.join("\n") + "\n";
        assert!(
            now == super::MESSAGES,
            "a message has changed: put this into MESSAGES\n{now}"
        );
    }
}
