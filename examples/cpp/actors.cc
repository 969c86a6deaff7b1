// Actors: an object in a worker of its own. Calls of one caller run in order; a name finds it from anywhere.
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

#include "runtime/sdk/shoal.h"

namespace {

class Account {
 public:
  explicit Account(int balance) : balance_(balance) {}
  int Deposit(int amount) { return balance_ += amount; }
  int Withdraw(int amount) {
    if (amount > balance_) throw std::runtime_error("only " + std::to_string(balance_) + " left");
    return balance_ -= amount;
  }

 private:
  int balance_;
};

std::unique_ptr<Account> OpenAccount(int balance) { return std::make_unique<Account>(balance); }

}  // namespace

int main(int argc, char** argv) {
  shoal::Init(argc, argv);

  auto account = shoal::Actor<OpenAccount>({.name = "savings"}).Remote(100);
  for (int i = 0; i < 10; ++i) account.Task<&Account::Deposit>().Remote(10);

  auto same = shoal::GetActor<Account>("savings");
  const int balance = shoal::Get(same.Task<&Account::Withdraw>().Remote(50));

  std::string refusal;
  try {
    shoal::Get(account.Task<&Account::Withdraw>().Remote(1'000'000));
  } catch (const shoal::TaskError& error) {
    refusal = error.what();
  }
  std::printf("balance %d; %s\n", balance, refusal.c_str());
  return balance == 150 && refusal.find("only 150 left") != std::string::npos ? 0 : 1;
}
