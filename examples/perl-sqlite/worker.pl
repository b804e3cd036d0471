#!/usr/bin/env perl
# A queue with leases, in Perl without any module that does not come with it: one sqlite3 command (3.33 or later) is kept for the
# whole life of the worker, so there is one connection, as a driver would have.
#
#   contend run claim-race --system 'exec:perl examples/perl-sqlite/worker.pl --db {url}' --database sqlite
use strict;
use warnings;
use Getopt::Long;
use IPC::Open3;
use JSON::PP;

my $url;
GetOptions('db=s' => \$url) && $url or die "usage: worker.pl --db sqlite:///path\n";
$| = 1;                                                   # an answer that stays in a buffer is no answer
my $json  = JSON::PP->new->utf8->canonical;
my $lease = 30;
my $NOW   = "((julianday('now') - 2440587.5) * 86400.0)";
my $READY = "(status = 'ready' OR (status = 'running' AND lease_until < $NOW))";

my $pid = open3(my $to, my $from, undef, 'sqlite3', $url =~ s{^sqlite://}{}r);    # errors come with the rows
$to->autoflush(1);
print {$to} ".mode json\n.timeout 10000\n";

# Run statements in one transaction; the rows that came, or an exception with SQLite's message, when nothing was done.
sub transaction {
    my ($sql) = @_;
    print {$to} "BEGIN IMMEDIATE;\n$sql\nCOMMIT;\n.print done\n";
    my ($rows, $error, $text) = ([], '', '');
    while (defined(my $line = <$from>)) {
        last if $line eq "done\n";
        if ($line =~ /error/i && $line !~ /^[\[{]/) { $error ||= $line }
        elsif (!$error) { $text .= $line }
    }
    if ($error) {
        chomp $error;
        print {$to} "ROLLBACK;\n.print undone\n";         # an error, too, where BEGIN was refused
        while (defined(my $line = <$from>)) { last if $line eq "undone\n" }
        my $busy = $error =~ /database is locked/;
        die { message => $error, definite => JSON::PP::true, class => 'sqlite3', $busy ? (code => 'SQLITE_BUSY') : () };
    }
    push @$rows, @{ $json->decode($_) } for $text =~ /(\[.*?\])\n/gs;
    return $rows;
}

sub text { my ($value) = @_; $value //= ''; $value =~ s/'/''/g; utf8::encode($value); return "'$value'" }
sub number { my ($value) = @_; return $value + 0 }
sub held { join ' OR ', map { '(id = ' . number($_->{job}) . ' AND token = ' . number($_->{token}) . ')' } @_ }

# Change the jobs of these handles that are still held; give those that were.
sub change {
    my ($handles, $set) = @_;
    return [] unless @$handles;
    my $held = "status = 'running' AND (" . held(@$handles) . ')';
    return transaction("SELECT id AS job, token FROM jobs WHERE $held; UPDATE jobs SET $set WHERE $held;");
}

my %does = (
    hello => sub {
        my ($asked) = @_;
        $lease = $asked->{options}{lease_seconds} // $lease;
        return {
            capabilities  => [qw(install enqueue claim complete fail heartbeat recover)],
            databases     => ['sqlite'],
            semantics     => 'exactly-once-claim',
            ordered       => JSON::PP::true,
            lease_seconds => $lease,
        };
    },
    install => sub {
        transaction(<<~'SQL');
            CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, payload TEXT, priority INTEGER NOT NULL,
                status TEXT NOT NULL DEFAULT 'ready', worker TEXT, token INTEGER NOT NULL DEFAULT 0, lease_until REAL);
            CREATE INDEX ready ON jobs (priority DESC, id) WHERE status <> 'done';
            SQL
        return undef;
    },
    enqueue => sub {
        my $jobs   = $_[0]{jobs};
        my $values = join ', ', map { '(' . text($_->{payload}) . ', ' . number($_->{priority} // 0) . ')' } @$jobs;
        my $rows   = transaction("INSERT INTO jobs (payload, priority) VALUES $values;
            SELECT id FROM (SELECT id FROM jobs ORDER BY id DESC LIMIT @{[scalar @$jobs]}) ORDER BY id;");
        return [map { $_->{id} } @$rows];
    },
    claim => sub {
        my ($asked) = @_;
        my $rows = transaction("
            CREATE TEMP TABLE IF NOT EXISTS mine (id INTEGER);
            DELETE FROM mine;
            INSERT INTO mine SELECT id FROM jobs WHERE $READY ORDER BY priority DESC, id LIMIT " . number($asked->{limit}) . ";
            UPDATE jobs SET status = 'running', worker = " . text($asked->{worker}) . ", token = token + 1,
                lease_until = $NOW + " . number($lease) . " WHERE id IN (SELECT id FROM mine);
            SELECT id AS job, token FROM jobs WHERE id IN (SELECT id FROM mine) ORDER BY priority DESC, id;");
        return $rows;
    },
    complete  => sub { change($_[0]{handles}, "status = 'done'") },
    fail      => sub { change($_[0]{handles}, "status = 'ready'") },
    heartbeat => sub { change($_[0]{handles}, "lease_until = $NOW + " . number($lease)) },
    recover   => sub {
        my $rows = transaction("SELECT count(*) AS expired FROM jobs WHERE status = 'running' AND $READY;
            UPDATE jobs SET status = 'ready' WHERE status = 'running' AND $READY;");
        return $rows->[0]{expired};
    },
);

while (defined(my $line = <STDIN>)) {
    my $asked  = $json->decode($line);
    my $answer = eval { { ok => ($does{ $asked->{op} } // die { message => "there is no $asked->{op}", definite => JSON::PP::true })->($asked) } };
    $answer //= { error => ref $@ ? $@ : { message => "$@" } };
    print $json->encode({ id => $asked->{id}, %$answer }), "\n";
}
close $to;
waitpid $pid, 0;
