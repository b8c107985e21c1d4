import Foundation
import Testing
import Tokenizers

@Suite struct LoadingTests {
  @Test func aFolderWithoutTokenizerIsNamed() {
    #expect(throws: TokenizerError.self) { try Tokenizer(directory: URL(fileURLWithPath: "/nonexistent")) }
  }
}
