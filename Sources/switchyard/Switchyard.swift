import ArgumentParser

@main
struct Switchyard: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "A Mixture-of-Experts serving engine.")
}
