import Checkpoints
import Foundation
import Tensors
import Testing

/// Block quantization compared with the gguf Python package (`gguf_export.py`) and with ggml's library
/// (`gguf_export/make_k_blocks.py`).
struct BlockTests {
  @Test(arguments: [ElementType.q4_K, .q6_K, .q5_0]) func quantizesToTheBytesOfGGML(type: ElementType) throws {
    let file = try SafetensorsCheckpoint(
      contentsOf: Golden.folder.appending(path: "../gguf_export/k_blocks.safetensors"))
    let values = try #require(file.tensor(named: "values"))
    let expected = try #require(file.tensor(named: type.rawValue)).bytes
    for target in InstructionSet.allCases {
      target.run {
        for threads in 1...3 {
          #expect(CPUBackend(threads: threads).converted(values, to: type).bytes == expected, "\(target)")
        }
      }
    }
  }

  @Test(arguments: [ElementType.q8_0, .q4_0]) func quantizesToTheBytesOfTheReference(type: ElementType) throws {
    let file = try SafetensorsCheckpoint(contentsOf: Golden.folder.appending(path: "../gguf_export/blocks.safetensors"))
    let values = try #require(file.tensor(named: "values"))
    let expected = try #require(file.tensor(named: type.rawValue)).bytes
    for target in InstructionSet.allCases {
      target.run {
        for threads in 1...3 {
          let blocks = CPUBackend(threads: threads).converted(values, to: type)
          #expect(blocks.type == type && blocks.shape == values.shape)
          #expect(blocks.bytes == expected, "\(target)")
        }
      }
    }
  }
}
