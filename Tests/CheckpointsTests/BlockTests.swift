import Checkpoints
import Foundation
import Tensors
import Testing

/// Blocks that we make have the bytes of those that the gguf package makes (`gguf_export.py`).
struct BlockTests {
  @Test(arguments: [ElementType.q8_0, .q4_0]) func bytesAreTheReferences(type: ElementType) throws {
    let file = try SafetensorsCheckpoint(contentsOf: Golden.folder.appending(path: "../gguf_export/blocks.safetensors"))
    let values = try #require(file.tensor(named: "values"))
    let expected = try #require(file.tensor(named: type.rawValue)).bytes
    for target in KernelTarget.allCases {
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
