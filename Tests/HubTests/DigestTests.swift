import Foundation
import Hub
import TestSupport
import Testing

struct DigestTests {
  /// Published values: FIPS 180-2, and `git hash-object`.
  @Test func knownHashes() throws {
    #expect(
      try MessageDigest.hexadecimal(.sha256, Data("abc".utf8))
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(
      try MessageDigest.hexadecimal(.sha256, Data())
        == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(try MessageDigest.hexadecimal(.sha1, Data("abc".utf8)) == "a9993e364706816aba3e25717850c26c9cd0d89d")
    #expect(FakeRepository.gitHash(Array("hello\n".utf8)) == "ce013625030ba8dba906f756967f9e9ca394464a")
  }

  @Test func pieces() throws {
    let digest = try MessageDigest(.sha256)
    for byte in "abc".utf8 { try digest.update(Data([byte])) }
    try digest.update(Data())
    #expect(try digest.hexadecimal() == MessageDigest.hexadecimal(.sha256, Data("abc".utf8)))
  }
}
