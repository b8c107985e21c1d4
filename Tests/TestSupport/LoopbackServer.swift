import Foundation
import Synchronization

/// A request as the server received it.
package struct Request: Sendable {
  package let method: String
  /// The request target: a path and query, a whole URL for a proxy, or host and port of a tunnel.
  package let uri: String
  package let headers: [(name: String, value: String)]
  /// As many bytes as Content-Length says.
  package var body: [UInt8] = []

  package init(method: String, uri: String, headers: [(name: String, value: String)]) {
    (self.method, self.uri, self.headers) = (method, uri, headers)
  }

  package var path: String { String(uri.prefix { $0 != "?" }) }

  package subscript(_ name: String) -> String? { headers.first { $0.name.lowercased() == name.lowercased() }?.value }
}

/// What the server does with a request.
package struct Answer: Sendable {
  package var status = 200
  package var headers: [(String, String)] = []
  package var body: [UInt8] = []
  /// Closes the connection after this many bytes of the body.
  package var cut: Int?
  /// Sends nothing more after this many bytes of the body.
  package var stall: Int?
  /// Sends the body slowly: this many bytes every 50 ms.
  package var bytesPerStep: Int?
  /// Sends Content-Length.
  package var announcesLength = true

  package init(status: Int = 200, headers: [(String, String)] = [], body: [UInt8] = []) {
    self.status = status
    self.headers = headers
    self.body = body
  }

  package static func text(_ text: String, status: Int = 200) -> Answer {
    Answer(status: status, body: Array(text.utf8))
  }

  package static func status(_ status: Int, _ headers: [(String, String)] = []) -> Answer {
    Answer(status: status, headers: headers)
  }

  package func with(_ change: (inout Answer) -> Void) -> Answer {
    var answer = self
    change(&answer)
    return answer
  }
}

/// An HTTP server on the loopback address that answers as told, misbehavior included, and records its requests.
/// A thread per connection, on plain sockets: an HTTP library would not send a wrong length or half a response.
package final class LoopbackServer: Sendable {
  package let address: String
  private let state: State

  private final class State: Sendable {
    /// The listening socket; nil once it is closed, since its number may then belong to another test's file.
    let listener: Mutex<Int32?>
    let log = Mutex<[Request]>([])
    let connections = Mutex<Set<Int32>>([])
    let destinations = Mutex<[String]>([])
    let isSOCKS: Bool
    let answer: @Sendable (Request) -> Answer

    init(listener: Int32, isSOCKS: Bool, _ answer: @escaping @Sendable (Request) -> Answer) {
      self.listener = Mutex(listener)
      self.isSOCKS = isSOCKS
      self.answer = answer
    }
  }

  package struct SocketError: Error {}

  /// - Parameter isSOCKS: plays a SOCKS5 proxy, and the server behind it as well.
  package init(isSOCKS: Bool = false, _ answer: @escaping @Sendable (Request) -> Answer) async throws {
    #if canImport(Darwin)
      let listener = socket(AF_INET, SOCK_STREAM, 0)
    #else
      let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    #endif
    var place = sockaddr_in()
    place.sin_family = sa_family_t(AF_INET)
    place.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafeMutablePointer(to: &place) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, length) | listen(listener, 64) | getsockname(listener, $0, &length)
      }
    }
    guard listener >= 0, status == 0 else { throw SocketError() }
    let state = State(listener: listener, isSOCKS: isSOCKS, answer)
    self.state = state
    address = "http://127.0.0.1:\(UInt16(bigEndian: place.sin_port))"
    Thread.detachNewThread {
      while true {
        let connection = accept(listener, nil, nil)
        guard connection >= 0 else { break }
        state.connections.withLock { _ = $0.insert(connection) }
        Thread.detachNewThread {
          Self.serve(connection, state)
          state.connections.withLock { connections in
            connections.remove(connection)
            close(connection)
          }
        }
      }
      state.listener.withLock { open in
        close(listener)
        open = nil
      }
    }
  }

  /// The requests so far.
  package var requests: [Request] { state.log.withLock { $0 } }

  /// Where clients of the SOCKS proxy wanted to connect to.
  package var destinations: [String] { state.destinations.withLock { $0 } }

  package func forget() { state.log.withLock { $0 = [] } }

  /// Stops listening and closes every connection.
  package func stop() {
    state.listener.withLock { listener in
      if let listener { shutdown(listener, Int32(SHUT_RDWR)) }
    }
    state.connections.withLock { connections in
      for connection in connections { shutdown(connection, Int32(SHUT_RDWR)) }
    }
  }

  deinit { stop() }

  /// Answers the requests of one connection until either side closes it.
  private static func serve(_ connection: Int32, _ state: State) {
    if state.isSOCKS {
      guard let destination = acceptSOCKS(connection) else { return }
      state.destinations.withLock { $0.append(destination) }
    }
    var unread: [UInt8] = []
    while let request = readRequest(connection, &unread) {
      state.log.withLock { $0.append(request) }
      guard send(state.answer(request), to: request, connection) else { return }
    }
  }

  /// The handshake of SOCKS5 without authentication (RFC 1928), for destinations given by host name.
  private static func acceptSOCKS(_ connection: Int32) -> String? {
    guard let greeting = read(2, from: connection), greeting[0] == 5,
      read(Int(greeting[1]), from: connection) != nil, write([5, 0], to: connection),
      let request = read(5, from: connection), request[1] == 1, request[3] == 3,
      let host = read(Int(request[4]), from: connection), let port = read(2, from: connection),
      write([5, 0, 0, 1, 0, 0, 0, 0, 0, 0], to: connection)
    else { return nil }
    return "\(String(decoding: host, as: UTF8.self)):\(Int(port[0]) << 8 | Int(port[1]))"
  }

  private static func read(_ count: Int, from connection: Int32) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    return recv(connection, &bytes, count, Int32(MSG_WAITALL)) == count ? bytes : nil
  }

  private static func readRequest(_ connection: Int32, _ unread: inout [UInt8]) -> Request? {
    let end = Array("\r\n\r\n".utf8)
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      if let range = unread.firstRange(of: end) {
        let lines = String(decoding: unread[..<range.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
        unread.removeSubrange(..<range.upperBound)
        let words = (lines.first ?? "").split(separator: " ")
        guard words.count == 3 else { return nil }
        let headers = lines.dropFirst().compactMap { line -> (name: String, value: String)? in
          guard let colon = line.firstIndex(of: ":") else { return nil }
          let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
          return (String(line[..<colon]), value)
        }
        var request = Request(method: String(words[0]), uri: String(words[1]), headers: headers)
        let length = request["Content-Length"].flatMap { Int($0) } ?? 0
        while unread.count < length {
          let count = recv(connection, &buffer, buffer.count, 0)
          guard count > 0 else { return nil }
          unread += buffer[..<count]
        }
        request.body = Array(unread.prefix(length))
        unread.removeFirst(length)
        return request
      }
      let count = recv(connection, &buffer, buffer.count, 0)
      guard count > 0 else { return nil }
      unread += buffer[..<count]
    }
  }

  /// Returns whether the connection stays open.
  private static func send(_ answer: Answer, to request: Request, _ connection: Int32) -> Bool {
    var head = "HTTP/1.1 \(answer.status) Status\r\n"
    for (name, value) in answer.headers { head += "\(name): \(value)\r\n" }
    if !answer.announcesLength {
      head += "Connection: close\r\n"
    } else if !answer.headers.contains(where: { $0.0 == "Content-Length" }) {
      head += "Content-Length: \(answer.body.count)\r\n"
    }
    guard write(Array((head + "\r\n").utf8)[...], to: connection) else { return false }
    if request.method != "HEAD" {
      let body = answer.body.prefix(answer.cut ?? answer.stall ?? answer.body.count)
      var rest = body
      while !rest.isEmpty {
        guard write(rest.prefix(answer.bytesPerStep ?? rest.count), to: connection) else { return false }
        rest = rest.dropFirst(answer.bytesPerStep ?? rest.count)
        if answer.bytesPerStep != nil { usleep(50_000) }
      }
    }
    if answer.stall != nil {
      // Waits until the client gives up.
      var byte: UInt8 = 0
      _ = recv(connection, &byte, 1, 0)
      return false
    }
    return answer.cut == nil && answer.announcesLength
  }

  private static func write(_ bytes: ArraySlice<UInt8>, to connection: Int32) -> Bool {
    #if canImport(Darwin)
      let flags: Int32 = 0
    #else
      let flags = Int32(MSG_NOSIGNAL)
    #endif
    var rest = bytes
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.send(connection, $0.baseAddress, $0.count, flags) }
      guard count > 0 else { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }
}
